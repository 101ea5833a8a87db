/** `--set KEY=VALUE`. */
import { Effect, Runtime } from "effect"
import { expect, it } from "vitest"
import { overrides } from "#cli/set-flag.ts"

const problem = (text: string) => Effect.runSync(Effect.flip(overrides([text])))

it("splits at the first = and reads the value as YAML", () => {
  const set = ["seed=2", "data.source.root=a=b", "evaluate.ranks=[1, 5]", "variants.x={ pad: 3 }", "name=", "flag=true"]
  expect(Effect.runSync(overrides(set))).toEqual([
    { key: "seed", value: 2 },
    { key: "data.source.root", value: "a=b" },
    { key: "evaluate.ranks", value: [1, 5] },
    { key: "variants.x", value: { pad: 3 } },
    { key: "name", value: null },
    { key: "flag", value: true }
  ])
})

it.each([
  ["seed", "--set seed: expected KEY=VALUE, as --set seed=2"],
  ["=2", "--set =2: expected KEY=VALUE, as --set seed=2"],
  ["seed=[1", "--set seed=[1: Flow sequence must end with a ] at line 1, column 3"],
  ["seed=*a", "--set seed=*a: aliases (*name) are not read; write the value out"]
])("refuses %j as misuse", (text, message) => {
  const error = problem(text)
  expect(error.message).toBe(message)
  expect(Runtime.getErrorExitCode(error)).toBe(2)
})
