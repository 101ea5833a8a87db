/** The declarative file of a run: how it is read, checked and kept. */
import { basename, dirname, resolve } from "node:path"
import { Effect, Result } from "effect"
import { stringify } from "yaml"
import { type BranchPoint, branchPoint } from "#pipeline/branch-point.ts"
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
import {
  decodeSettings,
  type Override,
  type Path,
  type SettingProblem,
  valueAt,
  withOverride
} from "#pipeline/settings.ts"

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
export interface RunConfig extends Omit<RunFile, "name" | "extends" | "variants" | "branch"> {
  readonly name: string
  readonly folder: string
  /** What the file, those that it extends and the overrides say, without defaults. */
  readonly given: Layer["keys"]
  readonly variants: ReadonlyArray<readonly [name: string, settings: Adapt]>
  readonly branch?: Branch
}

/** The point from which a run's settings hold, and the run by whose settings all before it is made. */
export interface Branch {
  readonly of: string
  readonly from: string
  readonly point: BranchPoint
  readonly before: RunConfig
}

/** A run from its keys, which stand at `prefix` in the file; `named` is its name where the keys have none. */
const configOf = (
  input: Layer["keys"],
  named: string,
  folder: string,
  prefix: Path = []
): Result.Result<RunConfig, ReadonlyArray<SettingProblem>> =>
  Result.gen(function* () {
    const misnamed = variantProblems(input)
    if (misnamed.length > 0) return yield* Result.fail(misnamed)
    const { branch, ...run } = yield* decodeSettings(RunFile, input, prefix)
    const own = (valueAt(input, ["adapt"]) ?? {}) as object
    const variants = Object.entries(run.variants).map(([name, settings]) =>
      Result.map(
        decodeSettings(Adapt, { ...own, ...settings }, [...prefix, "variants", name]),
        (adapt) => [name, adapt] as const
      )
    )
    const wrong = variants.filter(Result.isFailure).flatMap(({ failure }) => failure)
    if (wrong.length > 0) return yield* Result.fail(wrong)
    const config = {
      ...{ ...run, name: run.name ?? named, folder, given: input },
      variants: variants.map(Result.getOrThrow)
    }
    if (branch === undefined) return config
    const { of, from, before } = branch
    const point = branchPoint(from)
    const path = [...prefix, "branch", "from"]
    if (point === undefined)
      return yield* Result.fail([
        { path, text: `key "${path.join(".")}": expected STAGE@EPOCH, as cluster@3, found ${from}` }
      ])
    const original = yield* configOf(before, of, folder, [...prefix, "branch", "before"])
    return { ...config, branch: { of, from, point, before: original } }
  })

/** What a run is, from the text of its file; `file` names it in errors and is where relative paths start. */
export const parseRunFile = (
  text: string,
  file: string,
  overrides: ReadonlyArray<Override> = []
): Effect.Effect<RunConfig, RunFileInvalid> =>
  Effect.gen(function* () {
    const layers = yield* layersOf(text, file, overrides)
    const { extends: _, ...input } = overrides.reduce(withOverride, mergedLayers(layers)) as Record<string, unknown>
    const named = basename(file).replace(/\.ya?ml$/, "")
    return yield* Effect.fromResult(configOf(input, named, resolve(dirname(file)))).pipe(
      Effect.mapError(
        (problems) =>
          new RunFileInvalid({ file, problems: problems.map(({ path, text }) => `${fileOf(layers, path)}: ${text}`) })
      )
    )
  })

/** The run file that a run keeps in its own folder: all that was given, in one file, with paths as seen from there. */
export const keptRunFile = (run: RunConfig, folder: string): string =>
  stringify({ name: run.name, ...relocated(run.given, run.folder, folder) })

/** Reads and checks a run file. */
export const readRunFile = (file: string, overrides: ReadonlyArray<Override> = []) =>
  Effect.flatMap(readRunText(file), (text) => parseRunFile(text, file, overrides))
