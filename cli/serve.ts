/** `mmt serve`: live pages of runs, on this machine alone. */
import { Console, Effect, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { stepBehindOthers } from "#serve/below-others.ts"
import { defaultPort } from "#serve/default-port.ts"

const Port = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65535 }))

export const serve = Command.make(
  "serve",
  {
    runs: Argument.String("RUNS").pipe(
      Argument.withDescription("The folder of the runs, or one run's; runs by default"),
      Argument.withDefault("runs")
    ),
    port: Flag.Int("port").pipe(
      Flag.withDescription("Port on 127.0.0.1; 0 takes any that is free"),
      Flag.withSchema(Port),
      Flag.withDefault(defaultPort)
    )
  },
  Effect.fn("mmt serve")(function* ({ runs, port }) {
    stepBehindOthers()
    const { serveRuns } = yield* Effect.promise(() => import("#serve/server.ts"))
    const url = yield* serveRuns(runs, port)
    yield* Console.log(`serving ${runs} on ${url}; Ctrl-C ends it`)
    return yield* Effect.never
  }, Effect.scoped)
).pipe(
  Command.withShortDescription("Show runs while they go"),
  Command.withDescription(
    "Serves a list of the runs below a folder and for each the report's page, kept current while the run goes on. It answers this machine alone, shows nothing outside the folder, changes nothing, and works only while a page is open."
  ),
  Command.withExamples([
    { command: "mmt serve", description: "All runs below runs/" },
    { command: "mmt serve runs/my-run --port 0", description: "One run, on any port that is free" }
  ])
)
