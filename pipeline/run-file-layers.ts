/**
 * Run files that extend others: `extends: FILE`, or a list of them, whose keys stand unless the file that says it gives
 * its own. What comes of it are layers, the run file's own the last.
 */
import { readFile } from "node:fs/promises"
import { dirname, isAbsolute, join, relative, resolve } from "node:path"
import { Effect, Runtime, Schema } from "effect"
import { Extends, pathKeys } from "#pipeline/run-keys.ts"
import {
  isMapping,
  mergedOver,
  type Override,
  type Path,
  readYaml,
  valueAt,
  withOverride,
  yamlProblem
} from "#pipeline/settings.ts"

/** A run file cannot be used: it is no YAML, a key is unknown or missing, a value has the wrong type. */
export class RunFileInvalid extends Schema.TaggedError<RunFileInvalid>()("RunFileInvalid", {
  /** The run file. */
  file: Schema.String,
  /** Lines that begin with the file in which the wrong key stands: the run file, or one that it extends. */
  problems: Schema.Array(Schema.String)
}) {
  readonly [Runtime.errorExitCode] = 2
  override get message() {
    return this.problems.join("\n")
  }
}

/** What one file says, without `extends`, its paths as seen from the folder of the run file. */
export interface Layer {
  readonly file: string
  readonly keys: Readonly<Record<string, unknown>>
}

/** Keys with every path in them, as seen from one folder, as seen from another. */
export const relocated = (keys: Layer["keys"], from: string, to: string): Layer["keys"] => {
  if (resolve(from) === resolve(to)) return keys
  const moved = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(moved)
    if (typeof value !== "string" || value === "" || isAbsolute(value)) return value
    return relative(resolve(to), resolve(from, value)) || "."
  }
  const movedAt = (input: unknown, path: Path): unknown => {
    const value = valueAt(input, path)
    return value === undefined ? input : withOverride(input, { key: path.join("."), value: moved(value) })
  }
  const before = valueAt(keys, ["branch", "before"])
  const own = isMapping(before)
    ? withOverride(keys, { key: "branch.before", value: relocated(before, from, to) })
    : keys
  return pathKeys.reduce<unknown>(movedAt, own) as Layer["keys"]
}

const readText = (file: string) =>
  Effect.tryPromise({
    try: () => readFile(file, "utf8"),
    catch: (cause) => {
      const { code, message } = cause as NodeJS.ErrnoException
      return code === "ENOENT" ? "there is no such file" : code === "EISDIR" ? "it is a folder" : message
    }
  })

/** The text of a run file. */
export const readRunText = (file: string): Effect.Effect<string, RunFileInvalid> =>
  Effect.mapError(readText(file), (problem) => new RunFileInvalid({ file, problems: [`${file}: ${problem}`] }))

/** The keys of one file, as they stand in it. */
const keysOf = (text: string) =>
  Effect.try({ try: () => readYaml(text), catch: yamlProblem }).pipe(
    Effect.filterOrFail(
      isMapping,
      (value) => `expected keys and their values, as "data: …", found ${JSON.stringify(value)}`
    )
  )

/** The files that a file extends, as it names them. */
const extendedBy = ({ extends: files = [] }: Layer["keys"]) =>
  Schema.is(Extends)(files)
    ? Effect.succeed([files].flat())
    : Effect.fail(`key "extends": expected a file's name or a list of them, found ${JSON.stringify(files)}`)

const relativeTo = (file: string, other: string) => (isAbsolute(other) ? other : join(dirname(file), other))

/**
 * The layers of a run file, from the text of it: those of the files that it extends, in their order, and its own. A file
 * that is reached by two ways is one layer, where it comes first. A base's `name` stays its own.
 */
export const layersOf = (
  text: string,
  file: string,
  overrides: ReadonlyArray<Override> = []
): Effect.Effect<ReadonlyArray<Layer>, RunFileInvalid> => {
  const layers = new Map<string, Layer>()
  const add = (
    text: string,
    own: string,
    above: ReadonlyArray<string>,
    overrides: ReadonlyArray<Override>
  ): Effect.Effect<void, RunFileInvalid> =>
    Effect.gen(function* () {
      const said = overrides.reduce<unknown>(withOverride, yield* keysOf(text)) as Layer["keys"]
      const way = [...above, own]
      for (const name of yield* extendedBy(said)) {
        const base = relativeTo(own, name)
        if (way.some((one) => resolve(one) === resolve(base)))
          return yield* Effect.fail(`key "extends": files extend each other in a circle: ${[...way, base].join(" → ")}`)
        if (layers.has(resolve(base))) continue
        const baseText = yield* Effect.mapError(readText(base), (problem) => `key "extends": ${base}: ${problem}`)
        yield* add(baseText, base, way, [])
      }
      const { extends: _, name, ...rest } = said
      const keys = relocated(rest, dirname(own), dirname(file))
      layers.set(resolve(own), { file: own, keys: own === file && name !== undefined ? { name, ...keys } : keys })
    }).pipe(
      Effect.mapError((problem) =>
        typeof problem === "string" ? new RunFileInvalid({ file, problems: [`${own}: ${problem}`] }) : problem
      )
    )
  return Effect.map(add(text, file, [], overrides), () => [...layers.values()])
}

/** What all layers say together: later ones over earlier, mappings key by key. */
export const mergedLayers = (layers: ReadonlyArray<Layer>): unknown =>
  layers.map(({ keys }) => keys).reduce<unknown>(mergedOver, {})

/** The file in which a key stands that has a wrong value; the run file, where the key stands in none. */
export const fileOf = (layers: ReadonlyArray<Layer>, path: Path): string =>
  (layers.findLast(({ keys }) => valueAt(keys, path) !== undefined) ?? layers.at(-1)!).file
