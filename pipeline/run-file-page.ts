/** The page of all keys of a run file, as Markdown. */
import { type JsonSchema, runFileSchema } from "#pipeline/run-file-schema.ts"

interface Key {
  readonly name: string
  readonly schema: JsonSchema
  readonly required: boolean
}

/** The keys of a mapping, those of its inner mappings after their own, by dotted names. */
const keysOf = ({ properties = {}, required = [], anyOf = [] }: JsonSchema, prefix = ""): ReadonlyArray<Key> => [
  ...Object.entries(properties).flatMap(([key, schema]) => [
    { name: `${prefix}${key}`, schema, required: required.includes(key) },
    ...keysOf(schema, `${prefix}${key}.`)
  ]),
  ...anyOf.flatMap((each) => keysOf(each, prefix))
]

const code = (value: unknown) => `\`${typeof value === "string" ? value : JSON.stringify(value)}\``

const isBound = (limit: number | undefined): limit is number =>
  limit !== undefined && Math.abs(limit) < Number.MAX_SAFE_INTEGER

/** What a value may be, in words. */
const valuesOf = (schema: JsonSchema): string => {
  const { type, items, anyOf, minimum, maximum, exclusiveMinimum } = schema
  if (anyOf) return anyOf.map(valuesOf).join(" or ")
  if (schema.enum) return schema.enum.map(code).join(", ")
  if (type === "boolean") return "`true`, `false`"
  if (type === "array") return `list of ${items ? valuesOf(items) : "values"}`
  if (type === "object") return "mapping"
  if (type === "string") return "text"
  const kind = type === "integer" ? "integer" : "number"
  if (isBound(exclusiveMinimum))
    return `${kind} above ${exclusiveMinimum}${isBound(maximum) ? `, at most ${maximum}` : ""}`
  if (isBound(minimum) && isBound(maximum)) return `${kind}, ${minimum} to ${maximum}`
  return isBound(minimum) ? `${kind}, at least ${minimum}` : kind
}

const defaultOf = ({ schema, required }: Key) => {
  if (required) return "required"
  const { default: standard } = schema
  const isMapping = typeof standard === "object" && standard !== null && !Array.isArray(standard)
  return standard === undefined || isMapping ? "" : code(standard)
}

const cell = (text: string) => text.replaceAll("|", "\\|")

const tableOf = (keys: ReadonlyArray<Key>) =>
  [
    "| key | values | default | |",
    "| --- | --- | --- | --- |",
    ...keys.map((key) => {
      const cells = [code(key.name), valuesOf(key.schema), defaultOf(key), key.schema.description ?? ""]
      return `| ${cells.map(cell).join(" | ")} |`
    })
  ].join("\n")

/** Sections: the keys at the top, then those of each mapping among them. */
export const runFilePage = (): string => {
  const schema = runFileSchema()
  const top = Object.entries(schema.properties!)
  const sections = top.flatMap(([name, inner]) => {
    const keys = keysOf(inner)
    return keys.length === 0 ? [] : [`## \`${name}\``, inner.description!, tableOf(keys)]
  })
  const { required = [] } = schema
  return `${[
    "# The keys of a run file",
    "A run file is YAML. Defaults are the paper's settings, and where paper and original code differ, the code's. `mmt plan FILE` says what a change would redo; an unknown key, or a value of the wrong kind, is an error that names it. This page is written by `mmt schema --markdown`; `mmt schema` prints the same as a JSON Schema, by which editors complete and check run files.",
    tableOf(top.map(([name, inner]) => ({ name, schema: inner, required: required.includes(name) }))),
    ...sections
  ].join("\n\n")}\n`
}
