/** The page of all keys, and the JSON Schema for editors. */
import { readFile } from "node:fs/promises"
import { describe, expect, it } from "vitest"
import { runFilePage } from "#pipeline/run-file-page.ts"
import { type JsonSchema, runFileSchema } from "#pipeline/run-file-schema.ts"

const keysOf = ({ properties = {}, anyOf = [] }: JsonSchema, prefix = ""): ReadonlyArray<[string, JsonSchema]> => [
  ...Object.entries(properties).flatMap(
    ([key, schema]): ReadonlyArray<[string, JsonSchema]> => [
      [`${prefix}${key}`, schema],
      ...keysOf(schema, `${prefix}${key}.`)
    ]
  ),
  ...anyOf.flatMap((each) => keysOf(each, prefix))
]

const keys = new Map(keysOf(runFileSchema()))

describe("the run file's schema", () => {
  it("describes every key", () => {
    expect(keys.size).toBeGreaterThan(90)
    for (const [name, { description }] of keys) expect(description, name).toMatch(/\.$/)
  })

  it("has values and defaults, also of what is checked further and of mappings in mappings", () => {
    expect(keys.get("adapt.softLabels")).toMatchObject({
      enum: ["mean-teachers", "students"],
      default: "mean-teachers"
    })
    expect(keys.get("adapt.blur.sigma")).toMatchObject({ type: "array", default: [0.1, 2] })
    expect(keys.get("model.backbone.stem.kernel")).toMatchObject({ type: "integer", exclusiveMinimum: 0 })
    expect(JSON.stringify(runFileSchema())).not.toContain("$ref")
  })
})

describe("docs/run-file.md", () => {
  it("is what `mmt schema --markdown` prints: write it anew when a key has changed", async () => {
    expect(await readFile(new URL("../../docs/run-file.md", import.meta.url), "utf8")).toBe(runFilePage())
  })
})
