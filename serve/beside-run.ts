/** A live page for a run that this process executes, served by a process of its own. */
import { type ChildProcess, fork } from "node:child_process"
import { Effect } from "effect"
import type { Told } from "#serve/beside-process.ts"

export interface BesideRun {
  /** Starts the server; the run's folder has its run.yaml by now. `say` is told the URL. */
  readonly start: (say: (text: string) => void) => void
  /** Waits after the run until no page is open any more; `say` is told where one is. */
  readonly untilClosed: (say: (text: string) => void) => Effect.Effect<void>
}

/** The server of a run's live page, which ends with the scope at the latest. */
export const besideRun = (folder: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => ({ child: undefined as ChildProcess | undefined, url: "" })),
      ({ child }) => Effect.sync(() => child?.kill())
    ),
    (server): BesideRun => ({
      start: (say) => {
        const file = new URL("./beside-process.ts", import.meta.url)
        const child = fork(file, [folder], { stdio: ["ignore", "ignore", "inherit", "ipc"] })
        // The run does not wait for it.
        child.unref()
        child.channel?.unref()
        child.on("error", ({ message }) => say(`no live page: ${message}`))
        child.on("message", (told: Told) => {
          if (!("url" in told)) return
          server.url = told.url
          say(`live page: ${told.url}`)
        })
        server.child = child
      },
      untilClosed: (say) =>
        Effect.callback<void>((resume) => {
          const { child } = server
          if (child === undefined || child.exitCode !== null || !child.connected) return resume(Effect.void)
          child.ref()
          child.once("exit", () => resume(Effect.void))
          child.on("message", (told: Told) => {
            if ("pages" in told && told.pages > 0) say(`${server.url} is open and is served on; Ctrl-C ends it`)
          })
          child.send("over")
        })
    })
  )
