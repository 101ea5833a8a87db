/** The declarative file of a run: how it is read, checked and kept. */
import { basename, dirname, resolve } from "node:path"
import { Effect, Result } from "effect"
import { stringify } from "yaml"
import {
  fileOf,
  type Layer,
  layersOf,
  mergedLayers,
  RunFileInvalid,
  readRunText,
  relocated
} from "#pipeline/run-file-layers.ts"
import { Adapt, RunFile, taken, variantName } from "#pipeline/run-keys.ts"
import { decodeSettings, type Override, type SettingProblem, valueAt, withOverride } from "#pipeline/settings.ts"

/** What is wrong with the variants' names: the schema of the file's keys would call such a key unknown. */
const variantProblems = (input: unknown): ReadonlyArray<SettingProblem> =>
  Object.keys(Object(valueAt(input, ["variants"]))).flatMap((name) => {
    const problem = !variantName.test(name)
      ? "expected a name of a-z, 0-9 and -"
      : taken.includes(name)
        ? `expected another name; taken are ${taken.join(", ")}`
        : undefined
    return problem === undefined ? [] : [{ path: ["variants", name], text: `variant "${name}": ${problem}` }]
  })

/** A run that can be planned: the file's contents, its folder for relative paths, and each variant's whole settings. */
export interface RunConfig extends Omit<RunFile, "name" | "extends" | "variants"> {
  readonly name: string
  readonly folder: string
  /** What the file, those that it extends and the overrides say, without defaults. */
  readonly given: Layer["keys"]
  readonly variants: ReadonlyArray<readonly [name: string, settings: Adapt]>
}

/** What a run is, from the text of its file; `file` names it in errors and is where relative paths start. */
export const parseRunFile = (
  text: string,
  file: string,
  overrides: ReadonlyArray<Override> = []
): Effect.Effect<RunConfig, RunFileInvalid> =>
  Effect.gen(function* () {
    const layers = yield* layersOf(text, file, overrides)
    const invalid = (problems: ReadonlyArray<SettingProblem>) =>
      new RunFileInvalid({ file, problems: problems.map(({ path, text }) => `${fileOf(layers, path)}: ${text}`) })
    const { extends: _, ...input } = overrides.reduce(withOverride, mergedLayers(layers)) as Record<string, unknown>
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

/** The run file that a run keeps in its own folder: all that was given, in one file, with paths as seen from there. */
export const keptRunFile = (run: RunConfig, folder: string): string =>
  stringify({ name: run.name, ...relocated(run.given, run.folder, folder) })

/** Reads and checks a run file. */
export const readRunFile = (file: string, overrides: ReadonlyArray<Override> = []) =>
  Effect.flatMap(readRunText(file), (text) => parseRunFile(text, file, overrides))
