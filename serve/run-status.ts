/** What a run is doing, from its lock, its progress and the last of its events. */
import { open } from "node:fs/promises"
import { join } from "node:path"
import { Effect } from "effect"
import type { RunEvent } from "#pipeline/events.ts"
import { type Progress, readProgress } from "#pipeline/progress-file.ts"
import { isLocked } from "#pipeline/run-lock.ts"

export interface RunStatus {
  readonly state: "running" | "done" | "failed" | "interrupted" | "not started"
  /** Of a run that goes on, once it has begun. */
  readonly progress: Progress | undefined
  /** Of the last event, ISO 8601; undefined where there is none. */
  readonly last: string | undefined
  /** Of a run that failed. */
  readonly problem: string | undefined
}

type KeptEvent = RunEvent & { readonly time: string }

/** An event with the times of all steps of an epoch is a line of some ten thousand bytes. */
const tailBytes = 1 << 17

const parsed = (line: string): ReadonlyArray<KeptEvent> => {
  try {
    return [JSON.parse(line) as KeptEvent]
  } catch {
    return []
  }
}

/** The last events that a run has kept, oldest first. */
const lastEvents = (folder: string) =>
  Effect.promise(async () => {
    const file = await open(join(folder, "events.jsonl")).catch(() => undefined)
    if (file === undefined) return []
    try {
      const { size } = await file.stat()
      const length = Math.min(size, tailBytes)
      const { buffer } = await file.read(Buffer.alloc(length), 0, length, size - length)
      return buffer.toString("utf8").split("\n").flatMap(parsed)
    } finally {
      await file.close()
    }
  })

const endOf = (last: KeptEvent | undefined): RunStatus["state"] => {
  if (last === undefined) return "not started"
  if (last.type === "run-done") return "done"
  return last.type === "task-failed" ? "failed" : "interrupted"
}

export const runStatus = Effect.fn("runStatus")(function* (folder: string) {
  if (yield* isLocked(folder)) {
    const progress = yield* readProgress(folder)
    const last = progress && new Date(progress.written).toISOString()
    return { state: "running", progress, last, problem: undefined } satisfies RunStatus
  }
  const last = (yield* lastEvents(folder)).at(-1)
  return {
    state: endOf(last),
    progress: undefined,
    last: last?.time,
    problem: last?.type === "task-failed" ? `${last.task}: ${last.problem}` : undefined
  } satisfies RunStatus
})
