/** The pool of worker threads that augments batches while the networks train. */
import { Context, Duration, Effect, Layer, Schedule, Schema } from "effect"
import { Piscina } from "piscina"
import type { AugmentJob, AugmentTask } from "#data/augment-worker.ts"
import { BatchMemory } from "#data/batch-memory.ts"
import { pixelPlaces } from "#data/image-rows.ts"

/** A worker thread could not make a batch: its file changed or vanished, or the thread died or hung. */
export class AugmentationFailed extends Schema.TaggedError<AugmentationFailed>()("AugmentationFailed", {
  iteration: Schema.Int,
  problem: Schema.String,
  /** Whether it was the thread that failed, so that another one may do better. */
  byThread: Schema.Boolean
}) {
  override get message() {
    return `iteration ${this.iteration}: the batch could not be augmented: ${this.problem}`
  }
}

export interface PoolSettings {
  /** How long a thread may take for a batch. */
  readonly patience: Duration.Duration
  /** The module that the threads run. */
  readonly worker: URL
}

/** A batch takes tens of milliseconds; a file on a slow network share is waited for, a thread that hangs is not. */
const standardPool: PoolSettings = {
  patience: Duration.minutes(2),
  worker: new URL("./augment-worker.ts", import.meta.url)
}

/** As piscina and Node say it; what the job itself throws is another thing. */
const isThreadsDeath = ({ message, code }: NodeJS.ErrnoException) =>
  message.startsWith("worker exited") || code === "ERR_WORKER_OUT_OF_MEMORY"

const failed = ({ iteration }: AugmentJob, problem: string, byThread: boolean) =>
  new AugmentationFailed({ iteration, problem, byThread })

export class AugmentationPool extends Context.Service<
  AugmentationPool,
  {
    readonly threads: number
    /** The pixels of one batch, [views · rows, height, width, 3]. */
    readonly run: (job: AugmentJob) => Effect.Effect<Float32Array, AugmentationFailed>
  }
>()("mmt/data/AugmentationPool") {
  /**
   * A pool of so many threads, which end with the scope. A batch whose thread dies, or gives no answer in time and is ended then,
   * is made again by another thread, twice at most.
   */
  static readonly layer = (
    threads: number,
    { patience, worker }: PoolSettings = standardPool
  ): Layer.Layer<AugmentationPool> =>
    Layer.effect(
      AugmentationPool,
      Effect.gen(function* () {
        const pool = yield* Effect.acquireRelease(
          Effect.sync(
            () => new Piscina({ filename: worker.href, minThreads: threads, maxThreads: threads, maxQueue: 1024 })
          ),
          (p) => Effect.promise(() => p.destroy())
        )
        const memories = new BatchMemory()
        const batch = async ({ places, ...job }: AugmentJob, signal: AbortSignal): Promise<Float32Array> => {
          const { height, width } = job.size
          const memory = memories.take(job.views * places.length * height * width * 3 * 4)
          const task: AugmentTask = { job, places: pixelPlaces(places), memory }
          try {
            const pixels: Float32Array = await pool.run(task, { signal })
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
              catch: (cause) => failed(job, (cause as Error).message, isThreadsDeath(cause as Error))
            }).pipe(
              Effect.timeoutOrElse({
                duration: patience,
                orElse: () => Effect.fail(failed(job, `no answer of its thread in ${Duration.format(patience)}`, true))
              }),
              Effect.retry({ while: ({ byThread }) => byThread, schedule: Schedule.recurs(2) })
            )
        })
      })
    )
}
