/** `mmt run`: runs a run file, whatever of it is not done yet, or a branch of a run. */
import { existsSync, statSync } from "node:fs"
import { cpus } from "node:os"
import { basename, dirname, join } from "node:path"
import { Console, Effect, Option, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { count } from "#cli/progress.ts"
import { runView } from "#cli/run-view.ts"
import { scoreReport } from "#cli/score.ts"
import { overrides, setFlag } from "#cli/set-flag.ts"
import { runPlanOf } from "#cli/time-left.ts"
import { branchFolder, branchOf, openBranch } from "#pipeline/branch.ts"
import { type RunEvent, RunListener } from "#pipeline/events.ts"
import { manifestFile, readManifest, type TaskRecord } from "#pipeline/manifest.ts"
import { executeRun } from "#pipeline/run.ts"
import { type RunConfig, readRunFile } from "#pipeline/run-file.ts"
import { runFileOf, whyUnscored } from "#pipeline/score.ts"
import type { Override } from "#pipeline/settings.ts"
import { type BesideRun, besideRun } from "#serve/beside-run.ts"

const PositiveInt = Schema.Int.check(Schema.isGreaterThan(0))

export const runFileArgument = Argument.String("FILE").pipe(
  Argument.withDescription("The run file, YAML; or a run's folder, which goes on by the run.yaml in it")
)

export const outFlag = Flag.String("out").pipe(
  Flag.withMetavar("DIR"),
  Flag.withDescription(
    "The run's folder; by default that of FILE if it is a run's own, else runs/NAME after the run file"
  ),
  Flag.optional
)

/** A run file, and the folder of its run if it is the one that a run keeps. */
const placeOf = (given: string) => {
  if (statSync(given, { throwIfNoEntry: false })?.isDirectory()) return { file: join(given, "run.yaml"), home: given }
  const home = dirname(given)
  const isKept = basename(given) === "run.yaml" && existsSync(manifestFile(home))
  return { file: given, home: isKept ? home : undefined }
}

/** Reads a run file and says in which folder its run lies. */
export const readRun = (given: string, set: ReadonlyArray<Override>, out: Option.Option<string> = Option.none()) => {
  const { file, home } = placeOf(given)
  return Effect.map(readRunFile(file, set), (config) => ({
    config,
    folder: Option.getOrElse(out, () => home ?? join("runs", config.name))
  }))
}

/** How a run is shown while it goes: to a person, not at all, or to a program, by its events. */
export type Shown = "view" | "quiet" | "json"

/** Events as `events.jsonl` has them, a line each; whoever reads them may stop, and the run goes on. */
const eventLines = () => {
  process.stdout.on("error", () => {})
  return (_: RunEvent, line?: string) => {
    if (line !== undefined) process.stdout.write(`${line}\n`)
  }
}

/** What listens to a run that is shown so, says what is said beside, and what ends it. */
const showing = (shown: Shown, config: RunConfig, done: Parameters<typeof runPlanOf>[1]) => {
  const say = (text: string) => {
    process.stderr.write(`${text}\n`)
  }
  if (shown === "quiet") return { listen: () => {}, say, end: () => {} }
  if (shown === "json") return { listen: eventLines(), say, end: () => {} }
  const { listen, end } = runView({ plan: runPlanOf(config, done) })
  return { listen, say: (text: string) => listen({ type: "notice", text }), end }
}

/** Runs what is not done yet of a run and shows how far it is, also on a live page where there is to be one. */
export const runInView = Effect.fnUntraced(function* (
  config: RunConfig,
  folder: string,
  threads: number,
  shown: Shown,
  page?: BesideRun
) {
  const { listen, say, end } = showing(
    shown,
    config,
    yield* readManifest(folder).pipe(Effect.catch(() => Effect.succeed(new Map<string, TaskRecord>())))
  )
  const tell = (event: RunEvent, line?: string) => {
    listen(event, line)
    if (event.type === "run-started") page?.start(say)
  }
  return yield* executeRun(config, folder, threads).pipe(
    Effect.provideService(RunListener, tell),
    Effect.ensuring(Effect.sync(end))
  )
})

export const quietFlag = Flag.Boolean("quiet").pipe(
  Flag.withDescription("Show no progress; results and errors alone"),
  Flag.withDefault(false)
)

/** How a run is run, which changes no result. */
interface Manner {
  readonly threads: number
  readonly shown: Shown
  /** With a live page. */
  readonly serve: boolean
}

/** Runs a run and prints the table of its scores. */
const runAndScore = Effect.fnUntraced(function* (config: RunConfig, folder: string, { serve, shown, threads }: Manner) {
  const unscored = whyUnscored(config)
  if (unscored !== undefined) yield* Console.error(unscored)
  const page = serve ? yield* besideRun(folder) : undefined
  yield* runInView(config, folder, threads, shown, page)
  if (shown !== "json") yield* Console.log(yield* scoreReport(folder))
  if (page) yield* page.untilClosed((text) => process.stderr.write(`${text}\n`))
}, Effect.scoped)

/** Runs a run file and prints the table of its scores. */
export const runToTheEnd = Effect.fn("runToTheEnd")(function* (
  file: string,
  set: ReadonlyArray<Override>,
  out: Option.Option<string>,
  manner: Manner
) {
  const { config, folder } = yield* readRun(file, set, out)
  yield* runAndScore(config, folder, manner)
})

/** Runs a branch of the run that lies in a folder, or of a run file, and prints the table of its scores. */
const runBranch = Effect.fn("runBranch")(function* (
  file: string,
  from: string,
  set: ReadonlyArray<Override>,
  out: Option.Option<string>,
  manner: Manner
) {
  const { config: own, folder: run } = yield* readRun(file, set)
  const kept = { folder: run, config: yield* runFileOf(run) }
  const folder = Option.getOrElse(out, () => branchFolder(run, from))
  const config = yield* branchOf(kept, own, from, folder)
  const { shared, tasks } = yield* openBranch(kept, config, folder).pipe(
    Effect.provideService(RunListener, runView().listen)
  )
  if (shared > 0) yield* Console.error(`${folder} shares ${count(shared)} of its ${count(tasks)} tasks with ${run}`)
  yield* runAndScore(config, folder, manner)
})

export const threadsFlag = Flag.Int("threads").pipe(
  Flag.withDescription("Worker threads that augment; it changes no result"),
  Flag.withSchema(PositiveInt.check(Schema.isLessThanOrEqualTo(256))),
  Flag.withDefault(Math.max(1, cpus().length - 1))
)

export const serveFlag = Flag.Boolean("serve").pipe(
  Flag.withDescription(
    "Serve a live page of the run on 127.0.0.1, and say where; after the run for as long as it is open"
  ),
  Flag.withDefault(false)
)

export const run = Command.make(
  "run",
  {
    file: runFileArgument,
    out: outFlag,
    threads: threadsFlag,
    set: setFlag,
    from: Flag.String("from").pipe(
      Flag.withMetavar("STAGE@EPOCH"),
      Flag.withDescription(
        "Run a branch of the run that FILE has: the settings of FILE and --set hold from there on, in a folder of its own (NAME-from-STAGE-EPOCH by default, beside the run), which shares what stays the same by hard links"
      ),
      Flag.optional
    ),
    serve: serveFlag,
    quiet: quietFlag,
    json: Flag.Boolean("json").pipe(
      Flag.withDescription(
        "Print the run's events in place of progress and scores, one a line, as events.jsonl has them; those of evaluations have the scores"
      ),
      Flag.withDefault(false)
    )
  },
  Effect.fn("mmt run")(function* ({ file, out, threads, set, from, serve, quiet, json }) {
    const settings = yield* overrides(set)
    const manner: Manner = { threads, shown: json ? "json" : quiet ? "quiet" : "view", serve }
    if (Option.isSome(from)) yield* runBranch(file, from.value, settings, out, manner)
    else yield* runToTheEnd(file, settings, out, manner)
  })
).pipe(
  Command.withShortDescription("Run a run file"),
  Command.withDescription(
    "Runs a run file from decoding to evaluation and prints its scores. What is done already is skipped; a changed parameter redoes only what depends on it."
  ),
  Command.withExamples([
    { command: "mmt run recipes/quickstart.yaml", description: "The quickstart's run, in runs/quickstart" },
    { command: "mmt run my.yaml --set adapt.classes=700 --out runs/my-700", description: "With another setting" },
    {
      command: "mmt run runs/my --from train-step@3 --set adapt.momentum=0.99",
      description: "With another setting from epoch 3 on, in runs/my-from-train-step-3"
    }
  ])
)
