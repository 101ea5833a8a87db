/**
 * The process that serves a run while another executes it, so that no page takes a step's time. It tells that one its URL, and how
 * many pages are open once the run is over; with the last of them it ends.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect } from "effect"
import { stepBehindOthers } from "#serve/below-others.ts"
import { defaultPort } from "#serve/default-port.ts"
import { type OpenPages, serveRuns } from "#serve/server.ts"

/** What this process tells the one that runs. */
export type Told = { readonly url: string } | { readonly pages: number }

const folder = process.argv[2]!

const tell = (told: Told) => Effect.sync(() => process.send?.(told))

/** The run is over, or its process is gone. */
const over = Effect.callback<void>((resume) => {
  process.once("message", () => resume(Effect.void))
  process.once("disconnect", () => resume(Effect.void))
})

/** No page is open, and none is being loaded again. */
const allClosed = (pages: OpenPages) => {
  let quiet = 0
  const look = Effect.map(Effect.sleep("1 second"), () => {
    quiet = pages.count === 0 ? quiet + 1 : 0
    return quiet
  })
  return Effect.repeat(look, { until: (seconds) => seconds >= 2 })
}

Effect.gen(function* () {
  stepBehindOthers()
  const pages: OpenPages = { count: 0 }
  const url = yield* Effect.catchTag(serveRuns(folder, defaultPort, pages), "PortTaken", () =>
    serveRuns(folder, 0, pages)
  )
  yield* tell({ url })
  yield* over
  yield* tell({ pages: pages.count })
  if (pages.count > 0) yield* allClosed(pages)
  // A channel that is listened to holds the process.
  if (process.connected) process.disconnect()
}).pipe(Effect.scoped, NodeRuntime.runMain)
