/** `mmt rerun`: tasks of a run again, from what is recorded of them. */
import { Console, Effect, Layer, Runtime, Schema } from "effect"
import { Argument, Command } from "effect/cli"
import type { FileDifference, FirstDifference } from "#audit/file-difference.ts"
import { type OpenRun, openRun } from "#audit/open-run.ts"
import { type FileComparison, type Rerun, rerunTask } from "#audit/rerun.ts"
import { makeVariant } from "#audit/variant.ts"
import { jsonFlag, runArgument } from "#cli/audit.ts"
import { count } from "#cli/progress.ts"
import { threadsFlag } from "#cli/run.ts"
import { runView } from "#cli/run-view.ts"
import { overrides, setFlag } from "#cli/set-flag.ts"
import { variantText } from "#cli/variant-lines.ts"
import { AugmentationPool } from "#data/augmentation-pool.ts"
import { Programs } from "#engine/programs.ts"
import { planTasks } from "#pipeline/plan.ts"
import type { Override } from "#pipeline/settings.ts"
import { selectTasks } from "#pipeline/task-selection.ts"

/** What came of tasks that were run again has other bytes. */
export class NotReproduced extends Schema.TaggedError<NotReproduced>()("NotReproduced", {
  folder: Schema.String,
  tasks: Schema.Array(Schema.String)
}) {
  readonly [Runtime.errorExitCode] = 1
  override get message() {
    return `${this.folder}: not reproduced: ${this.tasks.join(", ")}`
  }
}

const taskArgument = Argument.String("STAGE[@EPOCH]").pipe(
  Argument.withDescription(
    "cluster@3, baseline/cluster@3, pretrain/train-step@5, decode, or a task's whole name as cluster/epoch-003"
  )
)

const placeOf = ({ row, of, column, value }: FirstDifference) =>
  [
    `row ${row}${of === "" ? "" : ` (${of})`}`,
    `column "${column}"`,
    ...(value === undefined ? [] : [`value ${value}`])
  ].join(", ")

/** In which rows two files differ, and where first. */
export const differenceLines = ({
  rows,
  rowsThen,
  differing,
  first,
  largest
}: FileDifference): ReadonlyArray<string> => [
  ...(rows === rowsThen ? [] : [`${count(rows)} rows, ${count(rowsThen)} were written`]),
  ...(first
    ? [
        `${count(differing)} of ${count(rowsThen)} rows differ${largest ? `, by ${largest.difference.toPrecision(3)} at most (column "${largest.column}")` : ""}`,
        `first at ${placeOf(first)}: ${first.now}, was ${first.was}`
      ]
    : rows === rowsThen
      ? ["the rows are the same, what else the file says is not"]
      : [])
]

const short = (sha256: string) => sha256.slice(0, 16)

const fileLines = ({ path, rows, sha256, now, same, problem, difference }: FileComparison) => {
  const head = same ? "same " : "OTHER"
  const digests = same ? short(sha256) : `${short(sha256)} → ${now === null ? "no file" : short(now)}`
  return [
    `  ${head} ${path}  ${count(rows)} rows  sha256 ${digests}`,
    ...(problem === undefined ? [] : [`        the run's own file is not what was written: ${problem}`]),
    ...(difference ? differenceLines(difference).map((line) => `        ${line}`) : [])
  ]
}

const lines = ({ task, reproduced, seconds, files, notes }: Rerun) => {
  const many = files.length === 1 ? "its file" : `all ${files.length} files`
  const said = reproduced ? `reproduced, ${many} to the byte` : "NOT reproduced"
  return [
    `${task}: ${said} (${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s)`,
    ...notes.map((note) => `  ${note}`),
    ...files.flatMap(fileLines)
  ].join("\n")
}

/** The tasks that a text names in a run. */
const namedTasks = (run: OpenRun, named: string) =>
  Effect.gen(function* () {
    if (run.tasks.has(named)) return [named]
    const tasks = (yield* selectTasks(planTasks(run.config), named)).map(({ id }) => id)
    if (tasks.length > 1) yield* Console.error(`${named}: ${tasks.length} tasks: ${tasks.join(", ")}`)
    return tasks
  })

/** Runs tasks as they are recorded, says of each what came of it, and fails where that has other bytes. */
const reproduce = (run: OpenRun, tasks: ReadonlyArray<string>, json: boolean, view: ReturnType<typeof runView>) =>
  Effect.gen(function* () {
    const outcomes = yield* Effect.forEach(tasks, (task) =>
      Effect.gen(function* () {
        const outcome = yield* rerunTask(run, task, view.listen)
        view.end()
        if (!json) yield* Console.log(lines(outcome))
        return outcome
      })
    )
    const differing = outcomes.filter(({ reproduced }) => !reproduced).map(({ task }) => task)
    if (json)
      yield* Console.log(
        JSON.stringify({ run: run.folder, reproduced: differing.length === 0, tasks: outcomes }, null, 2)
      )
    if (differing.length > 0) return yield* new NotReproduced({ folder: run.folder, tasks: differing })
  })

/** Runs tasks by other settings and says what is different. */
const vary = (
  run: OpenRun,
  named: string,
  tasks: ReadonlyArray<string>,
  set: ReadonlyArray<Override>,
  json: boolean,
  view: ReturnType<typeof runView>
) =>
  Effect.gen(function* () {
    const variant = yield* makeVariant(run, named, tasks, set, view.listen)
    view.end()
    yield* Console.log(json ? JSON.stringify({ run: run.folder, ...variant }, null, 2) : variantText(variant))
  })

export const rerun = Command.make(
  "rerun",
  { run: runArgument, task: taskArgument, set: setFlag, threads: threadsFlag, json: jsonFlag },
  Effect.fn("mmt rerun")(function* ({ run: given, task: named, set, threads, json }) {
    const settings = yield* overrides(set)
    const run = yield* openRun(given)
    const tasks = yield* namedTasks(run, named)
    const view = runView()
    const running = Effect.gen(function* () {
      if (settings.length > 0) yield* vary(run, named, tasks, settings, json, view)
      else yield* reproduce(run, tasks, json, view)
    })
    yield* running.pipe(
      Effect.ensuring(Effect.sync(view.end)),
      Effect.provide(Layer.mergeAll(AugmentationPool.layer(threads), Programs.layer))
    )
  })
).pipe(
  Command.withShortDescription("Run a stage of a run again, and compare"),
  Command.withDescription(
    "Runs the tasks of a stage again from their recorded inputs, parameters and engine threads, in a folder beside the run that is gone afterwards, and says of each file whether it came out to the byte; where not, in which rows it differs and where first, and ends with 1. With --set (a key of the run file) it makes a variant of them in RUN/reruns, and says how it differs and which tasks of the run would change with it. The run's own tasks stay as they are. augment, train-step and ema-update are one task: each of them runs all three."
  ),
  Command.withExamples([
    { command: "mmt rerun runs/quickstart cluster@3", description: "The clusters of MMT's third epoch" },
    { command: "mmt rerun runs/quickstart baseline/evaluate@10", description: "Of a variant: both networks' scores" },
    { command: "mmt rerun runs/quickstart cluster@3 --set adapt.classes=100", description: "With other clusters" }
  ])
)
