/** Settings by nested keys, of run files and of stages: decoding with errors that name the key, and setting single keys. */
import { Result, Schema, SchemaIssue } from "effect"
import { parseDocument, YAMLParseError } from "yaml"

/** Keys from the outermost in. */
export type Path = ReadonlyArray<PropertyKey>

/** A tag (`!name`) in a YAML text, which would make something else of a value than it says. */
class TagRefused extends Error {}

/** The value of a YAML text. Aliases and tags are refused, and what else YAML only warns of is passed over. Throws. */
export const readYaml = (text: string): unknown => {
  const document = parseDocument(text, { schema: "core", resolveKnownTags: false, logLevel: "error" })
  const [error] = document.errors
  if (error) throw error
  const tag = document.warnings.find(({ code }) => code === "TAG_RESOLVE_FAILED")
  if (tag) throw new TagRefused(tag.message)
  return document.toJS({ maxAliasCount: 0 })
}

/** What `readYaml` threw, in a line. */
export const yamlProblem = (cause: unknown): string => {
  if (cause instanceof ReferenceError) return "aliases (*name) are not read; write the value out"
  if (cause instanceof TagRefused)
    return `tags (!name) are not read; leave them out${/ at line .*/.exec(cause.message.split("\n")[0]!)?.[0].replace(/:$/, "") ?? ""}`
  if (!(cause instanceof YAMLParseError)) return String(cause)
  if (cause.code === "MULTIPLE_DOCS") return "it holds several YAML documents, expected one"
  return cause.message.split("\n")[0]!.replace(/:$/, "")
}

/** The value at a path of nested keys, if there is one. */
export const valueAt = (value: unknown, path: Path): unknown =>
  path.reduce<unknown>((inner, key) => (inner as Record<PropertyKey, unknown> | undefined)?.[key], value)

/** Whether a value has keys of its own, as a mapping of YAML has. */
export const isMapping = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** A value over another: mappings key by key, at any depth; anything else takes the other's place. */
export const mergedOver = (base: unknown, own: unknown): unknown => {
  if (!isMapping(base) || !isMapping(own)) return own
  const keys = [...new Set([...Object.keys(base), ...Object.keys(own)])]
  return Object.fromEntries(
    keys.map((key) => [key, Object.hasOwn(own, key) ? mergedOver(base[key], own[key]) : base[key]])
  )
}

interface JsonSchema {
  readonly $ref?: string
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly allOf?: ReadonlyArray<JsonSchema>
}

/** The keys that the schema knows at a path, for error texts. */
const knownKeys = (schema: Schema.Top, path: Path): ReadonlyArray<string> => {
  const document = Schema.toJsonSchemaDocument(schema) as unknown as {
    schema: JsonSchema
    definitions: Record<string, JsonSchema>
  }
  const deref = (s: JsonSchema): JsonSchema => (s.$ref ? deref(document.definitions[s.$ref.split("/").at(-1)!]!) : s)
  const propertiesOf = (s: JsonSchema): Readonly<Record<string, JsonSchema>> => deref(s).properties ?? {}
  const at = path.reduce<JsonSchema>((s, key) => propertiesOf(s)[String(key)] ?? {}, document.schema)
  return Object.keys(propertiesOf(at))
}

const quoted = (value: unknown) => (value === undefined ? "nothing" : JSON.stringify(value))

/** What is wrong with a value: its path, and a line that names the key, what was found and what was expected. */
export interface SettingProblem {
  readonly path: Path
  readonly text: string
}

/** Decodes by the schema; below a prefix, if the value stands below one. */
export const decodeSettings = <S extends Schema.Top & { readonly DecodingServices: never }>(
  schema: S,
  input: unknown,
  prefix: Path = []
): Result.Result<S["Type"], ReadonlyArray<SettingProblem>> =>
  Schema.decodeUnknownResult(schema, { errors: "all", onExcessProperty: "error" })(input).pipe(
    Result.mapError((error) =>
      SchemaIssue.makeFormatterStandardSchemaV1()(error.issue).issues.map(({ path: at, message }) => {
        const path = (at ?? []) as Path
        const whole = [...prefix, ...path]
        const key = whole.map(String).join(".")
        if (message === "Expected no excess property") {
          const known = knownKeys(schema, path.slice(0, -1))
          return {
            path: whole,
            text: `unknown key "${key}"${known.length > 0 ? `; known here: ${known.join(", ")}` : ""}`
          }
        }
        const expected = message.charAt(0).toLowerCase() + message.slice(1)
        const text = key === "" ? expected : `key "${key}": ${expected}, found ${quoted(valueAt(input, path))}`
        return { path: whole, text }
      })
    )
  )

/** A setting given beside the file, `adapt.classes=700`; the value is read as YAML. */
export interface Override {
  readonly key: string
  readonly value: unknown
}

/** The input with one key set to another value. */
export const withOverride = (input: unknown, { key, value }: Override): unknown => {
  const set = (inner: unknown, [head, ...rest]: ReadonlyArray<string>): unknown => {
    const object = typeof inner === "object" && inner !== null ? inner : {}
    return head === undefined ? value : { ...object, [head]: set((object as Record<string, unknown>)[head], rest) }
  }
  return set(input, key.split("."))
}
