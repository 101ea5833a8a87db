/** The state of every task of a run, by its run file and by what its folder holds. */
import { Effect } from "effect"
import { readManifest, type TaskRecord } from "#pipeline/manifest.ts"
import { planTasks } from "#pipeline/plan.ts"
import type { RunConfig } from "#pipeline/run-file.ts"
import {
  digestsOf,
  missingInput,
  type OuterError,
  orAsRecorded,
  stale,
  stepRecords,
  type TaskState,
  taskState
} from "#pipeline/state.ts"
import type { Task } from "#pipeline/task-plan.ts"

/** A task with its state, as `mmt plan` and `mmt status` show it. */
export interface PlannedTask {
  readonly task: Task
  readonly state: TaskState
  /** The first of its inputs that is to be made before its own state can be told. */
  readonly waitsFor?: string
  /** What could not be looked at: a data set that is not there any more. */
  readonly unseen?: string
}

export interface Look {
  /** Hashes every artifact, also those whose files have their times of change. */
  readonly everyByte?: boolean
  /** Takes what is recorded of a data set or a file of weights that cannot be read any more; without it that is an error. */
  readonly withoutData?: boolean
}

/**
 * The state of every task of a run in a folder, which need not exist. Nothing is made. What depends on a corrupt task
 * alone is done: the same bytes come of making that one anew.
 */
export const planRun = Effect.fn("planRun")(function* (config: RunConfig, folder: string, look: Look = {}) {
  const manifest = yield* readManifest(folder)
  const known = new Map<string, TaskRecord>()
  const stateOf = (task: Task): Effect.Effect<PlannedTask, OuterError> =>
    Effect.gen(function* () {
      const record = manifest.get(task.id)
      const digests = digestsOf(known)
      const waitsFor = missingInput(task, digests)?.task
      if (waitsFor !== undefined) {
        const state: TaskState = record ? stale([`its input ${waitsFor} is to be made first`]) : { state: "missing" }
        return { task, state, waitsFor }
      }
      let unseen: string | undefined
      const tell = ({ message }: { readonly message: string }) => {
        unseen = message.split("\n")[0]
      }
      const steps = look.withoutData ? orAsRecorded(record, tell) : undefined
      const state = yield* taskState(folder, record, yield* stepRecords(task, digests, steps), look.everyByte)
      if (state.state === "done" || state.state === "corrupt") known.set(task.id, state.record)
      return { task, state, ...(unseen === undefined ? {} : { unseen }) }
    })
  return yield* Effect.forEach(planTasks(config), stateOf)
})
