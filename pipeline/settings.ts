/** Settings by nested keys, of run files and of stages: decoding with errors that name the key, and setting single keys. */
import { Result, Schema, SchemaIssue } from "effect"
import { parse, YAMLParseError } from "yaml"

type Path = ReadonlyArray<PropertyKey>

/** The value of a YAML text. Aliases are refused, and what YAML only warns of is passed over. Throws. */
export const readYaml = (text: string): unknown => parse(text, { maxAliasCount: 0, schema: "core", logLevel: "error" })

/** What `readYaml` threw, in a line. */
export const yamlProblem = (cause: unknown): string => {
  if (cause instanceof ReferenceError) return "aliases (*name) are not read; write the value out"
  if (!(cause instanceof YAMLParseError)) return String(cause)
  if (cause.code === "MULTIPLE_DOCS") return "it holds several YAML documents, expected one"
  return cause.message.split("\n")[0]!.replace(/:$/, "")
}

/** The value at a path of nested keys, if there is one. */
export const valueAt = (value: unknown, path: Path): unknown =>
  path.reduce<unknown>((inner, key) => (inner as Record<PropertyKey, unknown> | undefined)?.[key], value)

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

/** Decodes by the schema; each problem names the key, what was found and what was expected. */
export const decodeSettings = <S extends Schema.Top & { readonly DecodingServices: never }>(
  schema: S,
  input: unknown,
  prefix: Path = []
): Result.Result<S["Type"], ReadonlyArray<string>> =>
  Schema.decodeUnknownResult(schema, { errors: "all", onExcessProperty: "error" })(input).pipe(
    Result.mapError((error) =>
      SchemaIssue.makeFormatterStandardSchemaV1()(error.issue).issues.map(({ path: at, message }) => {
        const path = (at ?? []) as Path
        const key = [...prefix, ...path].map(String).join(".")
        if (message === "Expected no excess property") {
          const known = knownKeys(schema, path.slice(0, -1))
          return `unknown key "${key}"${known.length > 0 ? `; known here: ${known.join(", ")}` : ""}`
        }
        const expected = message.charAt(0).toLowerCase() + message.slice(1)
        return key === "" ? expected : `key "${key}": ${expected}, found ${quoted(valueAt(input, path))}`
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
