/** The declarative file of a run: how it is read, checked and kept. */
import { readFile } from "node:fs/promises"
import { basename, dirname, relative, resolve } from "node:path"
import { Effect, Result, Runtime, Schema } from "effect"
import { stringify } from "yaml"
import { Adapt, RunFile, taken, variantName } from "#pipeline/run-keys.ts"
import { decodeSettings, type Override, readYaml, valueAt, withOverride, yamlProblem } from "#pipeline/settings.ts"

/** What is wrong with the variants' names: the schema of the file's keys would call such a key unknown. */
const variantProblems = (input: unknown): ReadonlyArray<string> =>
  Object.keys(Object(valueAt(input, ["variants"]))).flatMap((name) => {
    if (!variantName.test(name)) return [`variant "${name}": expected a name of a-z, 0-9 and -`]
    return taken.includes(name) ? [`variant "${name}": expected another name; taken are ${taken.join(", ")}`] : []
  })

/** A run that can be planned: the file's contents, its folder for relative paths, and each variant's whole settings. */
export interface RunConfig extends Omit<RunFile, "name" | "variants"> {
  readonly name: string
  readonly folder: string
  /** What the file and the overrides say, without defaults. */
  readonly given: unknown
  readonly variants: ReadonlyArray<readonly [name: string, settings: Adapt]>
}

/** A run file cannot be used: it is no YAML, a key is unknown or missing, a value has the wrong type. */
export class RunFileInvalid extends Schema.TaggedError<RunFileInvalid>()("RunFileInvalid", {
  file: Schema.String,
  problems: Schema.Array(Schema.String)
}) {
  readonly [Runtime.errorExitCode] = 2
  override get message() {
    return this.problems.map((problem) => `${this.file}: ${problem}`).join("\n")
  }
}

/** What a run is, from the text of its file; `file` names it in errors and is where relative paths start. */
export const parseRunFile = (
  text: string,
  file: string,
  overrides: ReadonlyArray<Override> = []
): Effect.Effect<RunConfig, RunFileInvalid> =>
  Effect.gen(function* () {
    const invalid = (problems: ReadonlyArray<string>) => new RunFileInvalid({ file, problems: [...problems] })
    const yaml = yield* Effect.try({ try: () => readYaml(text), catch: (cause) => invalid([yamlProblem(cause)]) })
    const input = overrides.reduce(withOverride, yaml)
    if (typeof input !== "object" || input === null || Array.isArray(input))
      return yield* invalid([`expected keys and their values, as "data: …", found ${JSON.stringify(input)}`])
    const misnamed = variantProblems(input)
    if (misnamed.length > 0) return yield* invalid(misnamed)
    const run = yield* Effect.fromResult(decodeSettings(RunFile, input)).pipe(Effect.mapError(invalid))
    const own = (valueAt(input, ["adapt"]) ?? {}) as object
    const variants = Object.entries(run.variants).map(([name, settings]) =>
      Result.map(decodeSettings(Adapt, { ...own, ...settings }, ["variants", name]), (adapt) => [name, adapt] as const)
    )
    const wrong = variants.filter(Result.isFailure).flatMap(({ failure }) => failure)
    if (wrong.length > 0) return yield* invalid(wrong)
    const name = run.name ?? basename(file).replace(/\.ya?ml$/, "")
    return { ...run, name, folder: resolve(dirname(file)), given: input, variants: variants.map(Result.getOrThrow) }
  })

/** The run file that a run keeps in its own folder: what was given, with the data's place as seen from there. */
export const keptRunFile = (run: RunConfig, folder: string): string => {
  const { given, name } = run
  const rooted = (domain: "source" | "target") => ({
    ...(valueAt(given, ["data", domain]) as object),
    root: relative(resolve(folder), resolve(run.folder, run.data[domain].root))
  })
  const data = { ...(valueAt(given, ["data"]) as object), source: rooted("source"), target: rooted("target") }
  return stringify({ name, ...(given as object), data })
}

/** Reads and checks a run file. */
export const readRunFile = (file: string, overrides: ReadonlyArray<Override> = []) =>
  Effect.gen(function* () {
    const text = yield* Effect.tryPromise({
      try: () => readFile(file, "utf8"),
      catch: (cause) => {
        const { code, message } = cause as NodeJS.ErrnoException
        const problem = code === "ENOENT" ? "there is no such file" : code === "EISDIR" ? "it is a folder" : message
        return new RunFileInvalid({ file, problems: [problem] })
      }
    })
    return yield* parseRunFile(text, file, overrides)
  })
