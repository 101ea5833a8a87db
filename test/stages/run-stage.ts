/** Runs stages in tests as a pipeline would: checked inlets, all outlets drained side by side, one engine session. */
import type { RecordBatch } from "apache-arrow"
import { Effect, Layer, type Scope, Stream } from "effect"
import { Programs } from "#engine/programs.ts"
import { Session } from "#engine/session.ts"
import { Networks } from "#model/networks.ts"
import { checkedBatch } from "#pipeline/arrow-file.ts"
import type { Inlet } from "#pipeline/stage.ts"
import type { Artifact } from "#schemas/artifact.ts"

/** A session, and no networks in it yet. */
export const engine: Layer.Layer<Session | Networks | Programs> = Networks.layer.pipe(
  Layer.provideMerge(Session.layer),
  Layer.merge(Programs.layer),
  Layer.orDie
)

/** Runs a test's effect with a session of its own, whose variables are freed afterwards. */
export const run = <A, E>(effect: Effect.Effect<A, E, Session | Networks | Programs | Scope.Scope>): Promise<A> =>
  Effect.runPromise(effect.pipe(Effect.scoped, Effect.provide(engine)))

/** Record batches in memory as what an input port takes. */
export const inlet = <A extends Artifact>(
  artifact: A,
  batches: ReadonlyArray<RecordBatch>,
  source = "memory"
): Inlet<A> => ({
  artifact,
  source,
  files: [],
  batches: Stream.fromIterable(batches).pipe(
    Stream.rechunk(1),
    Stream.mapEffect((batch) => checkedBatch(artifact, batch, source))
  )
})

type Streams = Readonly<Record<string, Stream.Stream<RecordBatch, unknown, unknown>>>

/** The record batches of all outlets. */
export const drain = <Out extends Streams>(outlets: Out) =>
  Effect.all(Object.fromEntries(Object.entries(outlets).map(([name, stream]) => [name, Stream.runCollect(stream)])), {
    concurrency: "unbounded"
  }) as Effect.Effect<
    { readonly [K in keyof Out]: Array<RecordBatch> },
    Stream.Error<Out[keyof Out]>,
    Stream.Services<Out[keyof Out]>
  >
