/** Settings by nested keys: overrides, YAML values, and problems that name the key. */
import { Result, Schema } from "effect"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { decodeSettings, readYaml, valueAt, withOverride, yamlProblem } from "#pipeline/settings.ts"

const problemOf = (text: string) => {
  try {
    return readYaml(text)
  } catch (cause) {
    return yamlProblem(cause)
  }
}

describe("YAML", () => {
  it.each([
    ["3", 3],
    ["2.0e-3", 0.002],
    ["[1, 5]", [1, 5]],
    ["{ a: { b: yes } }", { a: { b: "yes" } }],
    ["true", true],
    ["", null]
  ])("reads %j", (text, value) => {
    expect(readYaml(text)).toEqual(value)
  })

  it.each([
    ["[1", "Flow sequence must end with a ] at line 1, column 3"],
    ["a: &x 1\nb: *x", "aliases (*name) are not read; write the value out"],
    ["a: &x { k: 1 }\nb: { <<: *x }", "aliases (*name) are not read; write the value out"],
    ["!foo 1", "tags (!name) are not read; leave them out at line 1, column 1"],
    ["a: !!binary aGk=", "tags (!name) are not read; leave them out at line 1, column 4"],
    ["a: !!js/function x", "tags (!name) are not read; leave them out at line 1, column 4"],
    ["1\n---\n2", "it holds several YAML documents, expected one"]
  ])("refuses %j in a line", (text, problem) => {
    expect(problemOf(text)).toBe(problem)
  })
})

describe("an override", () => {
  const key = fc.stringMatching(/^[a-z]{1,3}$/)
  const path = fc.array(key, { minLength: 1, maxLength: 4 })
  const objects = fc.object({ key, values: [fc.integer(), fc.string()] })

  it("sets the value at its path and changes nothing else", () => {
    fc.assert(
      fc.property(objects, path, fc.integer(), (input, keys, value) => {
        const before = structuredClone(input)
        const after = withOverride(input, { key: keys.join("."), value })
        expect(valueAt(after, keys)).toBe(value)
        expect(input).toEqual(before)
        const others = Object.keys(before).filter((name) => name !== keys[0])
        for (const name of others) expect(valueAt(after, [name])).toEqual(before[name])
      })
    )
  })
})

describe("decoding", () => {
  const schema = Schema.Struct({ outer: Schema.Struct({ count: Schema.Int }), names: Schema.Array(Schema.String) })

  it("names each key with what was found, below a prefix if there is one", () => {
    const problems = decodeSettings(schema, { outer: { count: "x", more: 1 }, names: ["a", 2] }, ["params"])
    expect(Result.isFailure(problems) && problems.failure.map(({ text }) => text)).toEqual([
      'unknown key "params.outer.more"; known here: count',
      'key "params.outer.count": expected number, found "x"',
      'key "params.names.1": expected string, found 2'
    ])
  })

  it("gives the value where nothing is wrong", () => {
    const input = { outer: { count: 1 }, names: [] }
    expect(Result.getOrThrow(decodeSettings(schema, input))).toEqual(input)
  })
})
