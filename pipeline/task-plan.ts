/** What a plan is made of: tasks, each a chain of stages with where its inputs come from, and how tasks are named. */
import type { Augmentation } from "#data/augmentation-settings.ts"
import { random } from "#data/random.ts"
import type { ModelConfig } from "#model/config.ts"
import { canonical } from "#pipeline/manifest.ts"
import type { RunConfig } from "#pipeline/run-file.ts"
import type { Adapt } from "#pipeline/run-keys.ts"
import type { StageName } from "#pipeline/stages.ts"

/** An output port of a task. */
export interface Source {
  readonly task: string
  readonly port: string
}

/** One stage in a task. A required port that is not named takes what the step before it gives. */
export interface Step {
  readonly stage: StageName
  readonly params: Readonly<Record<string, unknown>>
  /** Parameters of this machine, which do not change what the stage makes: where the data lies. */
  readonly local?: Readonly<Record<string, unknown>>
  readonly inputs: Readonly<Record<string, ReadonlyArray<Source>>>
}

/** What is done, or not, as one: its artifacts are the outputs of its last step, in the folder `id`. */
export interface Task {
  readonly id: string
  /** decode, pretrain, source-only, or the name of an adaptation. */
  readonly phase: string
  readonly steps: ReadonlyArray<Step>
}

/** The output ports that a task takes in, step by step. */
export const sourcesOf = ({ steps }: Task): ReadonlyArray<Source> =>
  steps.flatMap(({ inputs }) => Object.values(inputs).flat())

/** What a task is made by, as a text that is the same on any machine. */
export const settingsOf = ({ steps }: Task): string => canonical(steps.map(({ local: _, ...step }) => step))

/** The adaptation by the run file's `adapt`; every variant goes by its own name. */
export const mainAdaptation = "mmt"

export const students = ["student-1", "student-2"] as const
export const teachers = ["teacher-1", "teacher-2"] as const

export const epochName = (epoch: number) => `epoch-${String(epoch).padStart(3, "0")}`

/** The epoch of a task, from its folder. */
export const epochOf = (task: string): number | undefined => {
  const epoch = /(?:^|\/)epoch-(\d+)(?:\/|$)/.exec(task)?.[1]
  return epoch === undefined ? undefined : Number(epoch)
}

/** A seed for one part of the run. */
export const seedOf = (run: RunConfig, ...part: ReadonlyArray<string | number>) => random(run.seed, ...part).uint32()

/** The learning rate's schedule, as train-step takes it. */
export const scheduleOf = (keys: Pick<Adapt, "learningRate" | "warmupEpochs" | "milestones" | "milestoneFactor">) => ({
  base: keys.learningRate,
  warmupEpochs: keys.warmupEpochs,
  milestones: keys.milestones,
  factor: keys.milestoneFactor
})

/** The seed of train-step, for a model that draws from it. */
export const dropoutSeed = ({ dropout = 0 }: ModelConfig, seed: number) => (dropout > 0 ? { seed } : {})

export const augmentation = ({ flip, pad, erase, colorJitter, blur }: Augmentation) => ({
  flip,
  pad,
  erase,
  ...(colorJitter && { colorJitter }),
  ...(blur && { blur })
})

export const imagesOf = (name: string): Source => ({ task: `decode/${name}`, port: "images" })
export const checkpointOf = (task: string): Source => ({ task, port: "checkpoint" })

/** Folder of a stage in an adaptation: the main one's at the top, a variant's under its name. */
export const folderOf = (adaptation: string, stage: string, epoch: number) =>
  `${adaptation === mainAdaptation ? "" : `${adaptation}/`}${stage}/${epochName(epoch)}`
