/** `mmt plan`: the tasks of a run file, what of it is done, stale, corrupt or missing, and why. */
import { Console, Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { outFlag, readRun, runFileArgument } from "#cli/run.ts"
import { overrides, setFlag } from "#cli/set-flag.ts"
import { table } from "#cli/table.ts"
import { type PlannedTask, planRun } from "#pipeline/run-state.ts"
import { whyUnscored } from "#pipeline/score.ts"
import { reasonsOf, type TaskState } from "#pipeline/state.ts"

const why = (state: TaskState) => reasonsOf(state).join("; ")

const chain = ({ task }: PlannedTask) => task.steps.map(({ stage }) => stage).join(" → ")

const inputs = ({ task }: PlannedTask) =>
  [
    ...new Set(
      task.steps.flatMap((step) =>
        Object.values(step.inputs)
          .flat()
          .map((source) => source.task)
      )
    )
  ].join(", ")

/** The tasks that differ only in the epoch are one line: how many of them are in which state, and the first reason. */
const grouped = (tasks: ReadonlyArray<PlannedTask>) => {
  const groups = Map.groupBy(tasks, ({ task }) => task.id.replace(/epoch-\d+/, "epoch-*"))
  return [...groups].map(([id, members]) => {
    const states = Map.groupBy(members, ({ state }) => state.state)
    const counts = [...states].map(([state, { length }]) => (members.length === 1 ? state : `${length} ${state}`))
    const reason = members.map(({ state }) => why(state)).find((text) => text !== "") ?? ""
    return [id, chain(members[0]!), counts.join(", "), reason]
  })
}

export const plan = Command.make(
  "plan",
  {
    file: runFileArgument,
    out: outFlag,
    set: setFlag,
    all: Flag.Boolean("all").pipe(
      Flag.withDescription("Every epoch's task, with the tasks that it takes its inputs from"),
      Flag.withDefault(false)
    )
  },
  Effect.fn("mmt plan")(function* ({ file, out, set, all }) {
    const { config, folder } = yield* readRun(file, yield* overrides(set), out)
    const tasks = yield* planRun(config, folder)
    const text = all
      ? table(
          ["task", "stages", "state", "inputs", "why"],
          tasks.map((planned) => [
            planned.task.id,
            chain(planned),
            planned.state.state,
            inputs(planned),
            why(planned.state)
          ])
        )
      : table(["task", "stages", "state", "why"], grouped(tasks))
    const done = tasks.filter(({ state }) => state.state === "done").length
    const unscored = whyUnscored(config)
    const said = [`${done} of ${tasks.length} tasks done in ${folder}`, ...(unscored === undefined ? [] : [unscored])]
    yield* Console.log(`${text}\n\n${said.join("\n")}`)
  })
).pipe(
  Command.withShortDescription("Show what a run would do"),
  Command.withDescription(
    "Prints the tasks of a run file in their order, each with its stages, and whether it is done, stale, corrupt or missing in the run's folder, and why. Makes nothing."
  ),
  Command.withExamples([
    { command: "mmt plan recipes/quickstart.yaml", description: "Before or after `mmt run`" },
    {
      command: "mmt plan recipes/quickstart.yaml --set adapt.classes=100",
      description: "What another setting would redo"
    }
  ])
)
