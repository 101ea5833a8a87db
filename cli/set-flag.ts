/** The flag `--set KEY=VALUE`, for run files and for stages. */
import { Effect, Runtime, Schema } from "effect"
import { Flag } from "effect/cli"
import { type Override, readYaml, yamlProblem } from "#pipeline/settings.ts"

/** An argument that the command line's grammar allows and the command cannot use. */
export class Misuse extends Schema.TaggedError<Misuse>()("Misuse", { problem: Schema.String }) {
  readonly [Runtime.errorExitCode] = 2
  override get message() {
    return this.problem
  }
}

export const setFlag = Flag.String("set").pipe(
  Flag.withMetavar("KEY=VALUE"),
  Flag.withDescription("Sets a key, nested ones with dots; the value is read as YAML. Can be given again"),
  Flag.atLeast(0)
)

/** Splits KEY=VALUE and reads the value as YAML. */
export const overrides = (set: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<Override>, Misuse> =>
  Effect.forEach(set, (text) => {
    const at = text.indexOf("=")
    if (at < 1) return Effect.fail(new Misuse({ problem: `--set ${text}: expected KEY=VALUE, as --set seed=2` }))
    return Effect.try({
      try: () => ({ key: text.slice(0, at), value: readYaml(text.slice(at + 1)) }),
      catch: (cause) => new Misuse({ problem: `--set ${text}: ${yamlProblem(cause)}` })
    })
  })
