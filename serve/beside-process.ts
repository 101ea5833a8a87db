/**
 * The process that serves a run while another executes it, so that no page takes a step's time. It tells that one its URL, and how
 * many pages are open once the run is over; with the last of them it ends.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import { stepBehindOthers } from "#serve/below-others.ts"
import { defaultPort, type OpenPages, serveRuns } from "#serve/server.ts"

/** What this process tells the one that runs. */
export type Told = { readonly url: string } | { readonly pages: number }

const folder = process.argv[2]!

const tell = (told: Told) => Effect.sync(() => process.send?.(told))

/** The run is over, or its process is gone. */
const over = Effect.callback<void>((resume) => {
  process.once("message", () => resume(Effect.void))
  process.once("disconnect", () => resume(Effect.void))
})

Effect.gen(function* () {
  stepBehindOthers()
  const pages: OpenPages = { count: 0 }
  const url = yield* Effect.catchTag(serveRuns(folder, defaultPort, pages), "PortTaken", () =>
    serveRuns(folder, 0, pages)
  )
  yield* tell({ url })
  yield* over
  yield* tell({ pages: pages.count })
  yield* Effect.repeat(Effect.sleep("200 millis"), { until: () => pages.count === 0 })
  // A channel that is listened to holds the process.
  if (process.connected) process.disconnect()
}).pipe(Effect.scoped, NodeRuntime.runMain)
