/** `mmt run`: runs a run file, whatever of it is not done yet. */
import { cpus } from "node:os"
import { join } from "node:path"
import { Console, Effect, Option, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { runView } from "#cli/run-view.ts"
import { scoreReport } from "#cli/score.ts"
import { overrides, setFlag } from "#cli/set-flag.ts"
import { RunListener } from "#pipeline/events.ts"
import { executeRun } from "#pipeline/run.ts"
import { type RunConfig, readRunFile } from "#pipeline/run-file.ts"
import { whyUnscored } from "#pipeline/score.ts"
import type { Override } from "#pipeline/settings.ts"

const PositiveInt = Schema.Int.check(Schema.isGreaterThan(0))

export const runFileArgument = Argument.String("FILE").pipe(Argument.withDescription("The run file, YAML"))

export const outFlag = Flag.String("out").pipe(
  Flag.withMetavar("DIR"),
  Flag.withDescription("The run's folder; runs/NAME by default, after the run file's name"),
  Flag.optional
)

/** The folder of a run that is not given one. */
export const runFolder = (out: Option.Option<string>, name: string) => Option.getOrElse(out, () => join("runs", name))

/** Runs what is not done yet of a run and shows how far it is. */
export const runInView = (config: RunConfig, folder: string, threads: number) => {
  const view = runView()
  return executeRun(config, folder, threads).pipe(
    Effect.provideService(RunListener, view.listen),
    Effect.ensuring(Effect.sync(view.end))
  )
}

/** Runs a run file and prints the table of its scores. */
export const runToTheEnd = Effect.fn("runToTheEnd")(function* (
  file: string,
  set: ReadonlyArray<Override>,
  out: Option.Option<string>,
  threads: number
) {
  const config = yield* readRunFile(file, set)
  const folder = runFolder(out, config.name)
  const unscored = whyUnscored(config)
  if (unscored !== undefined) yield* Console.error(unscored)
  yield* runInView(config, folder, threads)
  yield* Console.log(yield* scoreReport(folder))
})

export const threadsFlag = Flag.Int("threads").pipe(
  Flag.withDescription("Worker threads that augment; it changes no result"),
  Flag.withSchema(PositiveInt.check(Schema.isLessThanOrEqualTo(256))),
  Flag.withDefault(Math.max(1, cpus().length - 1))
)

export const run = Command.make(
  "run",
  { file: runFileArgument, out: outFlag, threads: threadsFlag, set: setFlag },
  Effect.fn("mmt run")(function* ({ file, out, threads, set }) {
    yield* runToTheEnd(file, yield* overrides(set), out, threads)
  })
).pipe(
  Command.withShortDescription("Run a run file"),
  Command.withDescription(
    "Runs a run file from decoding to evaluation and prints its scores. What is done already is skipped; a changed parameter redoes only what depends on it."
  ),
  Command.withExamples([
    { command: "mmt run recipes/quickstart.yaml", description: "The quickstart's run, in runs/quickstart" },
    { command: "mmt run my.yaml --set adapt.classes=700 --out runs/my-700", description: "With another setting" }
  ])
)
