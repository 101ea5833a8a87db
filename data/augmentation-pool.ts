/** The pool of worker threads that augments batches while the networks train. */
import { Context, Effect, Layer, Schema } from "effect"
import { Piscina } from "piscina"
import type { AugmentJob, AugmentTask } from "#data/augment-worker.ts"
import { BatchMemory } from "#data/batch-memory.ts"

/** A worker thread could not make a batch: its file changed or vanished, or the thread died. */
export class AugmentationFailed extends Schema.TaggedError<AugmentationFailed>()("AugmentationFailed", {
  iteration: Schema.Int,
  problem: Schema.String
}) {
  override get message() {
    return `iteration ${this.iteration}: the batch could not be augmented: ${this.problem}`
  }
}

export class AugmentationPool extends Context.Service<
  AugmentationPool,
  {
    readonly threads: number
    /** The pixels of one batch, [views · rows, height, width, 3]. */
    readonly run: (job: AugmentJob) => Effect.Effect<Float32Array, AugmentationFailed>
  }
>()("mmt/data/AugmentationPool") {
  /** A pool of so many threads, which end with the scope. */
  static readonly layer = (threads: number): Layer.Layer<AugmentationPool> =>
    Layer.effect(
      AugmentationPool,
      Effect.gen(function* () {
        const filename = new URL("./augment-worker.ts", import.meta.url).href
        const pool = yield* Effect.acquireRelease(
          Effect.sync(() => new Piscina({ filename, minThreads: threads, maxThreads: threads, maxQueue: 1024 })),
          (p) => Effect.promise(() => p.destroy())
        )
        const memories = new BatchMemory()
        const batch = async (job: AugmentJob, signal: AbortSignal): Promise<Float32Array> => {
          const { height, width } = job.size
          const memory = memories.take(job.views * job.places.length * height * width * 3 * 4)
          try {
            const pixels: Float32Array = await pool.run({ job, memory } satisfies AugmentTask, { signal })
            if (memory !== undefined) memories.returnAfter(pixels.buffer, memory)
            return pixels
          } catch (cause) {
            if (memory !== undefined) memories.drop(memory)
            throw cause
          }
        }
        return AugmentationPool.of({
          threads,
          run: (job) =>
            Effect.tryPromise({
              try: (signal) => batch(job, signal),
              catch: (cause) => new AugmentationFailed({ iteration: job.iteration, problem: (cause as Error).message })
            })
        })
      })
    )
}
