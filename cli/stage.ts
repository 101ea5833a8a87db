/** `mmt stage`: the seven stages, and running one alone. */
import { Console, Effect, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { count } from "#cli/progress.ts"
import { threadsFlag } from "#cli/run.ts"
import { runView } from "#cli/run-view.ts"
import { Misuse, overrides, setFlag } from "#cli/set-flag.ts"
import { type Port, ProgressListener } from "#pipeline/stage.ts"
import { runStage } from "#pipeline/stage-run.ts"
import { type StageName, stageOf, stages } from "#pipeline/stages.ts"

const names = Object.keys(stages) as Array<StageName>

const portLines = (title: string, ports: Readonly<Record<string, Port>>) =>
  Object.entries(ports).map(([name, { artifact, optional, about }]) => {
    const columns = Object.entries(artifact.columns).map(([column, { expected }]) => `${column} ${expected}`)
    return `  ${title} ${name}${optional ? " (optional)" : ""}: ${about}\n      ${artifact.name}: ${columns.join(", ")}`
  })

/** The parameters of a stage with their defaults, as the JSON Schema has them. */
const paramLine = (name: StageName) => {
  const schema = Schema.toJsonSchemaDocument(stageOf(name).params).schema as { properties?: Record<string, unknown> }
  return `  parameters: ${Object.keys(schema.properties ?? {}).join(", ")}`
}

const describe = (name: StageName) => {
  const { summary, version, inputs, outputs } = stageOf(name)
  return [
    `${name} (version ${version}): ${summary}`,
    ...portLines("in ", inputs as Record<string, Port>),
    ...portLines("out", outputs as Record<string, Port>),
    paramLine(name)
  ].join("\n")
}

const list = Command.make("list", {}, () => Console.log(names.map(describe).join("\n\n"))).pipe(
  Command.withShortDescription("List the stages with their ports and parameters"),
  Command.withDescription(
    "Lists the seven stages: what each does, the artifacts and columns at its ports, its parameters."
  ),
  Command.withExamples([{ command: "mmt stage list", description: "All that `stage run` can run" }])
)

const inFlag = Flag.String("in").pipe(
  Flag.withMetavar("PORT=FILE"),
  Flag.withDescription("An input port's Arrow file, or a folder of them. Can be given again, also for the same port"),
  Flag.atLeast(0)
)

const inputsOf = (given: ReadonlyArray<string>) =>
  Effect.forEach(given, (text) => {
    const at = text.indexOf("=")
    if (at < 1) return Effect.fail(new Misuse({ problem: `--in ${text}: expected PORT=FILE` }))
    return Effect.succeed([text.slice(0, at), text.slice(at + 1)] as const)
  })

const run = Command.make(
  "run",
  {
    name: Argument.Literals("NAME", names).pipe(Argument.withDescription("The stage")),
    in: inFlag,
    out: Flag.String("out").pipe(
      Flag.withMetavar("DIR"),
      Flag.withDescription("Folder for its outputs, PORT.arrow each")
    ),
    set: setFlag,
    threads: threadsFlag
  },
  Effect.fn("mmt stage run")(function* ({ name, in: given, out, set, threads }) {
    const view = runView()
    const task = `stage ${name}`
    const written = yield* runStage(name, yield* inputsOf(given), yield* overrides(set), out, threads).pipe(
      Effect.provideService(ProgressListener, ({ done, total, note = "" }) =>
        view.listen({ type: "progress", task, phase: task, done, total, note })
      ),
      Effect.ensuring(Effect.sync(view.end))
    )
    if (written.length === 0) return yield* Console.log(`${task} gave no rows`)
    yield* Console.log(written.map(({ file, rows }) => `${file}: ${count(rows)} rows`).join("\n"))
  })
).pipe(
  Command.withShortDescription("Run one stage on Arrow files"),
  Command.withDescription(
    "Runs one stage on Arrow files of any origin (IPC file or stream format, any column order) and writes its outputs. Ports, columns and parameters: `mmt stage list`."
  ),
  Command.withExamples([
    {
      command: "mmt stage run cluster --in embeddings=embeddings.arrow --set classes=120 --out clusters",
      description: "Other clusters of the same embeddings"
    },
    {
      command: "mmt stage run decode --set root=datasets/Market-1501 --set split=query --out query",
      description: "Decode one split of a data set"
    }
  ])
)

export const stage = Command.make("stage").pipe(
  Command.withDescription("List the stages, run one alone"),
  Command.withSubcommands([list, run])
)
