/** The run file's keys as a JSON Schema, by which editors complete and check it, and from which the page of all keys is made. */
import { Schema, SchemaAST } from "effect"
import { RunFile } from "#pipeline/run-keys.ts"

/** A JSON Schema, as far as it is made here. */
export interface JsonSchema {
  readonly $ref?: string
  readonly type?: string
  readonly enum?: ReadonlyArray<unknown>
  readonly description?: string
  readonly default?: unknown
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly required?: ReadonlyArray<string>
  readonly items?: JsonSchema
  readonly anyOf?: ReadonlyArray<JsonSchema>
  readonly minimum?: number
  readonly maximum?: number
  readonly exclusiveMinimum?: number
}

/** A schema, what it wraps where it has a default or is optional, and what it is made of as a mapping or a choice. */
interface Composed extends Schema.Top {
  readonly to?: Composed
  readonly schema?: Composed
  readonly fields?: Readonly<Record<string, Composed>>
  readonly members?: ReadonlyArray<Composed>
}

/** The JSON Schema with the descriptions and defaults that it lacks: those of mappings with defaults, and of checked values. */
const described = (json: JsonSchema, given: Composed): JsonSchema => {
  const schema = given.fields || given.members ? given : (given.to ?? given.schema ?? given)
  const own = SchemaAST.resolve(schema.ast)
  const { description = own?.description, default: standard = own?.default } = json
  const inner = ([key, value]: [string, JsonSchema]) => [key, described(value, schema.fields![key]!)] as const
  return {
    ...json,
    ...(description !== undefined && { description: description as string }),
    ...(standard !== undefined && { default: standard }),
    ...(json.properties &&
      schema.fields && { properties: Object.fromEntries(Object.entries(json.properties).map(inner)) }),
    ...(json.anyOf && schema.members && { anyOf: json.anyOf.map((each, i) => described(each, schema.members![i]!)) })
  }
}

/** The JSON Schema of a run file, without references. */
export const runFileSchema = (): JsonSchema => {
  const { schema, definitions } = Schema.toJsonSchemaDocument(RunFile, {
    onExcessProperty: "error"
  }) as unknown as { readonly schema: JsonSchema; readonly definitions: Readonly<Record<string, JsonSchema>> }
  const inlined = (node: unknown): unknown => {
    if (Array.isArray(node)) return node.map(inlined)
    if (typeof node !== "object" || node === null) return node
    const { $ref, ...own } = node as JsonSchema
    const definition = $ref === undefined ? {} : definitions[$ref.slice($ref.lastIndexOf("/") + 1)]
    return Object.fromEntries(Object.entries({ ...definition, ...own }).map(([key, value]) => [key, inlined(value)]))
  }
  return described(inlined(schema) as JsonSchema, RunFile)
}
