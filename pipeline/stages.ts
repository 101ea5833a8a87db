/** The seven stages by name. All that runs, the training loop included, is composed of them. */
import type { RecordBatch } from "apache-arrow"
import type { Effect, Scope, Stream } from "effect"
import type { Stage } from "#pipeline/stage.ts"
import { augmentStage } from "#stages/augment.ts"
import { clusterStage } from "#stages/cluster.ts"
import { decodeStage } from "#stages/decode.ts"
import { emaUpdateStage } from "#stages/ema-update.ts"
import { embedStage } from "#stages/embed.ts"
import { evaluateStage } from "#stages/evaluate.ts"
import { trainStepStage } from "#stages/train-step.ts"

export const stages = {
  decode: decodeStage,
  augment: augmentStage,
  embed: embedStage,
  cluster: clusterStage,
  "train-step": trainStepStage,
  "ema-update": emaUpdateStage,
  evaluate: evaluateStage
}

export type StageName = keyof typeof stages

type Started = ReturnType<(typeof stages)[StageName]["run"]>
type Outlet<T> = T extends Effect.Effect<infer Outlets, any, any> ? Outlets[keyof Outlets] : never

/** All that a stage can fail with. */
export type StageError = Effect.Error<Started> | Stream.Error<Outlet<Started>>

/** All that a stage can need: the engine's session, the networks in it, the augmentation pool. */
export type StageServices = Exclude<Effect.Services<Started>, Scope.Scope> | Stream.Services<Outlet<Started>>

/** Any of the stages, for what treats them alike. */
export type AnyStage = Stage<
  StageName,
  any,
  any,
  any,
  Readonly<Record<string, Stream.Stream<RecordBatch, StageError, StageServices>>>,
  StageError,
  StageServices
>

export const stageOf = (name: StageName): AnyStage => stages[name] as unknown as AnyStage
