/** The engine's own check. */
import { Effect } from "effect"
import { expect, it } from "vitest"
import { checkEngine, WrongResult } from "#engine/check.ts"

it("finds a convolution and its gradients as computed by hand", () => {
  const { version, device, intraOpThreads, results } = Effect.runSync(checkEngine)
  expect(version).toBe("2.21.0")
  expect(device).not.toBe("")
  expect(intraOpThreads).toBeGreaterThan(0)
  expect(results.map(({ values }) => values.join(" "))).toEqual(["37 47 67 77", "1 3 2 4 10 6 3 7 4", "12 16 24 28"])
})

it("says of a wrong result what was expected and what to do", () => {
  const error = new WrongResult({ what: "convolution", expected: "1 2", found: "1 3" })
  expect(error.message).toMatch(/wrong convolution: expected 1 2, found 1 3\.\n.*engine install --force/)
})
