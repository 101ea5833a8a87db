/** The figures that cost seconds, each made once for the same artifacts, one at a time, in a thread beside the server. */
import { Cache, Context, Effect, Layer, Schema } from "effect"
import { Piscina } from "piscina"
import type { FigureJob } from "#serve/figure-worker.ts"

/** A figure could not be drawn: an artifact is gone or damaged. */
export class FigureFailed extends Schema.TaggedError<FigureFailed>()("FigureFailed", { problem: Schema.String }) {
  override get message() {
    return this.problem
  }
}

/** Figures that are kept; one is up to some megabytes. */
const mostKept = 12

const idleMillis = 30_000

export class Figures extends Context.Service<
  Figures,
  {
    /** The figure as HTML, of a run's artifacts as they are in this edition. */
    readonly draw: (job: FigureJob, edition: string) => Effect.Effect<string, FigureFailed>
  }
>()("mmt/serve/Figures") {
  static readonly layer: Layer.Layer<Figures> = Layer.effect(
    Figures,
    Effect.gen(function* () {
      const filename = new URL("./figure-worker.ts", import.meta.url).href
      const pool = yield* Effect.acquireRelease(
        Effect.sync(() => new Piscina({ filename, minThreads: 0, maxThreads: 1, idleTimeout: idleMillis })),
        (made) => Effect.promise(() => made.destroy())
      )
      const cache = yield* Cache.make({
        capacity: mostKept,
        lookup: (key: string) =>
          Effect.tryPromise({
            try: (signal) =>
              pool.run((JSON.parse(key) as { readonly job: FigureJob }).job, { signal }) as Promise<string>,
            catch: (cause) => new FigureFailed({ problem: (cause as Error).message })
          })
      })
      const draw = (job: FigureJob, edition: string) => {
        const key = JSON.stringify({ job, edition })
        // One that failed is tried again when it is asked for again.
        return Effect.tapError(Cache.get(cache, key), () => Cache.invalidate(cache, key))
      }
      return Figures.of({ draw })
    })
  )
}
