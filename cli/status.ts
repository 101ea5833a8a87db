/** `mmt status`: which tasks of a run are done, stale, corrupt or missing, and why. */
import { Console, Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { type OpenRun, openRun } from "#audit/open-run.ts"
import { jsonFlag, runArgument } from "#cli/audit.ts"
import { count } from "#cli/progress.ts"
import { table } from "#cli/table.ts"
import { commonName, foldedNames, withoutEpoch, wrapped } from "#cli/task-groups.ts"
import { type PlannedTask, planRun } from "#pipeline/run-state.ts"
import { reasonsOf } from "#pipeline/state.ts"

const states = ["done", "stale", "corrupt", "missing"] as const

const countsOf = (tasks: ReadonlyArray<PlannedTask>) =>
  Object.fromEntries(states.map((state) => [state, tasks.filter((one) => one.state.state === state).length]))

/** The task of its own cause for which another waits, over all that lies between. */
const rootOf = (tasks: ReadonlyMap<string, PlannedTask>, { task, waitsFor }: PlannedTask): string => {
  const before = waitsFor === undefined ? undefined : tasks.get(waitsFor)
  return before ? rootOf(tasks, before) : task.id
}

/** The tasks that are not done for a cause of their own, with those that wait for them; what differs in the epoch alone is one. */
const causes = (tasks: ReadonlyArray<PlannedTask>) => {
  const byId = new Map(tasks.map((planned) => [planned.task.id, planned]))
  const undone = tasks.filter(({ state }) => state.state !== "done")
  const waiting = Map.groupBy(
    undone.filter(({ waitsFor }) => waitsFor !== undefined),
    (planned) => rootOf(byId, planned)
  )
  const groups = Map.groupBy(
    undone.filter(({ waitsFor }) => waitsFor === undefined),
    ({ task, state }) => withoutEpoch([state.state, task.id, ...reasonsOf(state)].join("\n"))
  )
  return [...groups.values()].map((members) => ({
    state: members[0]!.state.state,
    name: commonName(members.map(({ task }) => task.id)),
    reasons: reasonsOf(members[0]!.state).map((reason) => (members.length === 1 ? reason : withoutEpoch(reason))),
    waiting: members.flatMap(({ task }) => waiting.get(task.id) ?? []).map(({ task }) => task.id)
  }))
}

const causeLines = (tasks: ReadonlyArray<PlannedTask>) => {
  const all = causes(tasks)
  if (all.length === 0) return []
  const rows = table(
    ["state", "task", "why"],
    all.map(({ state, name, reasons }) => [state, name, reasons.join("; ")])
  ).split("\n")
  const below = ({ waiting }: (typeof all)[number]) =>
    waiting.length === 0 ? [] : [`  ${count(waiting.length)} wait for it:`, wrapped(foldedNames(waiting), "    ")]
  return ["", rows[0]!, ...all.flatMap((cause, i) => [rows[i + 1]!, ...below(cause)])]
}

/** The tasks of a run's run.yaml with their states, and the recorded tasks that are not of it. */
export const statusOf = Effect.fnUntraced(function* ({ folder, config, tasks: records }: OpenRun, verify: boolean) {
  const tasks = yield* planRun(config, folder, { everyByte: verify, withoutData: true })
  const planned = new Set(tasks.map(({ task }) => task.id))
  return { folder, tasks, others: [...records.keys()].filter((id) => !planned.has(id)) }
})

type Status = Effect.Success<ReturnType<typeof statusOf>>

/** Counts, what is not done with the reasons, and what could not be looked at. */
export const statusText = ({ folder, tasks, others }: Status): string => {
  const counts = countsOf(tasks)
  const said = states.filter((state) => counts[state]! > 0).map((state) => `${count(counts[state]!)} ${state}`)
  const unseen = Map.groupBy(
    tasks.filter((planned) => planned.unseen !== undefined),
    (planned) => planned.unseen!
  )
  return [
    `${folder}: ${count(tasks.length)} tasks: ${said.join(", ")}`,
    ...causeLines(tasks),
    ...[...unseen].map(
      ([problem, of]) =>
        `\n${foldedNames(of.map(({ task }) => task.id)).join(", ")}: what they were made from cannot be compared: ${problem}`
    ),
    ...(others.length > 0
      ? [`\n${count(others.length)} tasks in the folder are not of its run.yaml:`, wrapped(foldedNames(others), "  ")]
      : [])
  ].join("\n")
}

const forPrograms = ({ folder, tasks, others }: Status) => ({
  run: folder,
  counts: countsOf(tasks),
  tasks: tasks.map(({ task, state, waitsFor, unseen }) => ({
    task: task.id,
    stages: task.steps.map(({ stage }) => stage),
    state: state.state,
    reasons: reasonsOf(state),
    ...(waitsFor === undefined ? {} : { waitsFor }),
    ...(unseen === undefined ? {} : { unseen })
  })),
  others
})

export const status = Command.make(
  "status",
  {
    run: runArgument,
    verify: Flag.Boolean("verify").pipe(
      Flag.withDescription("Hash every byte, also of files that have the time of change with which they were written"),
      Flag.withDefault(false)
    ),
    json: jsonFlag
  },
  Effect.fn("mmt status")(function* ({ run, verify, json }) {
    const found = yield* statusOf(yield* openRun(run), verify)
    yield* Console.log(json ? JSON.stringify(forPrograms(found), null, 2) : statusText(found))
  })
).pipe(
  Command.withShortDescription("Show what of a run is done, and why the rest is not"),
  Command.withDescription(
    "Prints how many tasks of a run's run.yaml are done, stale (made by another parameter, input or stage version), corrupt (files missing or changed) or missing, and of those that are not done the reason, with the tasks that wait for them folded. Changes nothing; the data set need not be there."
  ),
  Command.withExamples([
    { command: "mmt status runs/quickstart", description: "Counts, and what is not done" },
    { command: "mmt status runs/quickstart --verify --json", description: "Every byte hashed, every task listed" }
  ])
)
