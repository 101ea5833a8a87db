/** `npm run bench`. Exit codes: 0 done, 1 failed, 2 misuse, 130 interrupted. */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Cause, Console, Effect, Layer, Runtime, Schema } from "effect"
import { CliError, CliOutput, Command } from "effect/cli"
import packageJson from "../package.json" with { type: "json" }
import { bench } from "./command.ts"

/** What ends the process: everything is said, only the exit code is left. */
class Ended extends Schema.TaggedError<Ended>()("Ended", { code: Schema.Int }) {
  readonly [Runtime.errorExitCode] = this.code
}

/** A wrong call is answered in a line or two; help is for those who ask for it. */
const presenter = CliOutput.layerPresenter({
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? Console.error(
          `${event.errors.map(({ message }) => message.replace(/\s*\n\s*/g, " ")).join("\n")}\nSee \`npm run bench -- --help\`.`
        )
      : CliOutput.defaultPresenter.present(event)
})

const endWith = (cause: Cause.Cause<unknown>): Effect.Effect<void, Ended> =>
  Effect.suspend(() => {
    if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
    const failure = Cause.findErrorOption(cause)
    // The command line's own errors are shown already.
    if (failure._tag === "Some" && CliError.isCliError(failure.value)) return Effect.fail(new Ended({ code: 2 }))
    const text = failure._tag === "Some" ? (failure.value as Error).message : Cause.pretty(cause)
    process.stderr.write(`${text}\n`)
    return Effect.fail(new Ended({ code: 1 }))
  })

Command.run(bench, { version: packageJson.version }).pipe(
  Effect.catchCause(endWith),
  Effect.provide(Layer.mergeAll(NodeServices.layer, presenter)),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
