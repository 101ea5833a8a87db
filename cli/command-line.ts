/** How a command line of this project ends. Exit codes: 0 done, 1 failed, 2 misuse, 130 interrupted. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Cause, Console, Effect, Layer, Runtime, Schema } from "effect"
import { CliError, CliOutput, Command } from "effect/cli"
import packageJson from "../package.json" with { type: "json" }

/** What ends the process: everything is said, only the exit code is left. */
class Ended extends Schema.TaggedError<Ended>()("Ended", { code: Schema.Int }) {
  readonly [Runtime.errorExitCode] = this.code
}

/** A wrong call is answered in a line or two; help is for those who ask for it. */
const presenter = (helpOf: (path: ReadonlyArray<string>) => string) =>
  CliOutput.layerPresenter({
    present: (event) =>
      event._tag === "InvalidInvocation"
        ? Console.error(
            `${event.errors.map(({ message }) => message.replace(/\s*\n\s*/g, " ")).join("\n")}\nSee \`${helpOf(event.commandPath)}\`.`
          )
        : CliOutput.defaultPresenter.present(event)
  })

const endWith = (cause: Cause.Cause<unknown>): Effect.Effect<void, Ended> =>
  Effect.suspend(() => {
    if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
    const failure = Cause.findErrorOption(cause)
    if (failure._tag === "None") {
      process.stderr.write(`mmt failed unexpectedly; please report this:\n${Cause.pretty(cause)}\n`)
      return Effect.fail(new Ended({ code: 1 }))
    }
    const error = failure.value
    // The command line's own errors are shown already.
    if (CliError.isCliError(error)) {
      // A group of commands called by its name alone asks for help.
      const asked = error._tag === "ShowHelp" && error.errors.length === 0
      return asked ? Effect.void : Effect.fail(new Ended({ code: 2 }))
    }
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    return Effect.fail(new Ended({ code: Runtime.getErrorExitCode(error) }))
  })

/** Runs a command on this process's arguments and ends the process; a wrong call names `helpOf` its path. */
export const runCommandLine = <Name extends string, Input, ContextInput, E>(
  command: Command.Command<Name, Input, ContextInput, E, NodeServices.NodeServices>,
  helpOf: (path: ReadonlyArray<string>) => string
): void =>
  Command.run(command, { version: packageJson.version }).pipe(
    Effect.catchCause(endWith),
    Effect.provide(Layer.mergeAll(NodeServices.layer, presenter(helpOf))),
    NodeRuntime.runMain({ disableErrorReporting: true })
  )
