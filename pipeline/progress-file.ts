/** How far a run is, in `progress.json` of its folder while it goes: for other processes, which show it. */
import { renameSync, rmSync, writeFileSync } from "node:fs"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Option, Schema } from "effect"
import type { RunEvent } from "#pipeline/events.ts"

/** JSON has no NaN: what is not finite is null. */
const Value = Schema.NullOr(Schema.Finite)

export const Progress = Schema.Struct({
  /** Milliseconds since 1970, as is `taskStarted`. */
  written: Schema.Finite,
  run: Schema.String,
  tasks: Schema.Struct({ done: Schema.Int, total: Schema.Int }),
  task: Schema.String,
  phase: Schema.String,
  taskStarted: Schema.Finite,
  /** Parts of the task: iterations, images; the total is 0 where it is not known. */
  done: Schema.Finite,
  total: Schema.Finite,
  note: Schema.String,
  step: Schema.optionalKey(
    Schema.Struct({
      losses: Schema.Record(Schema.String, Value),
      learningRate: Value,
      stepMillis: Value,
      waitMillis: Value
    })
  )
})
export type Progress = typeof Progress.Type

export const progressFile = (run: string) => join(run, "progress.json")

const everyMillis = 1000

/** What was known before an event, and the event. */
const after = (before: Progress, event: RunEvent): Progress => {
  const tasks = { ...before.tasks, done: before.tasks.done + 1 }
  switch (event.type) {
    case "run-started":
      return { ...before, run: event.run, tasks: { done: 0, total: event.tasks } }
    case "task-started": {
      const { step: _, ...rest } = before
      const { task, phase } = event
      return { ...rest, task, phase, taskStarted: Date.now(), done: 0, total: 0, note: "" }
    }
    case "progress": {
      const { type: _, ...progress } = event
      return { ...before, ...progress }
    }
    case "task-done":
    case "task-skipped":
      return { ...before, tasks }
    default:
      return before
  }
}

/**
 * Writes `progress.json` by the events of a run, at most once a second, and removes it at the end. A write takes a tenth of a
 * millisecond; one that fails is left out, since progress is for the eye.
 */
export const progressWriter = (run: string) => {
  const file = progressFile(run)
  let progress: Progress = {
    written: 0,
    run: "",
    tasks: { done: 0, total: 0 },
    task: "",
    phase: "",
    taskStarted: Date.now(),
    done: 0,
    total: 0,
    note: ""
  }
  let timer: NodeJS.Timeout | undefined

  const write = () => {
    timer = undefined
    progress = { ...progress, written: Date.now() }
    const partial = `${file}.${process.pid}.partial`
    try {
      writeFileSync(partial, JSON.stringify(progress))
      renameSync(partial, file)
    } catch {
      rmSync(partial, { force: true })
    }
  }

  return {
    listen: (event: RunEvent) => {
      if (event.type === "notice" || event.type === "weights") return
      progress = after(progress, event)
      timer ??= setTimeout(write, Math.max(0, progress.written + everyMillis - Date.now())).unref()
    },
    end: () => {
      clearTimeout(timer)
      rmSync(file, { force: true })
    }
  }
}

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(Progress))

/** How far the run in a folder is; undefined where it has not begun or has ended. Of a run that was killed it is what it was then. */
export const readProgress = (run: string): Effect.Effect<Progress | undefined> =>
  Effect.promise(() => readFile(progressFile(run), "utf8").catch(() => "")).pipe(
    Effect.map((text) => Option.getOrUndefined(decode(text)))
  )
