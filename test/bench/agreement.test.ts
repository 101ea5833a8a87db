/** What counts as computing the same on both sides of a bench. */
import { expect, it } from "vitest"
import { disagreement } from "../../bench/agreement.ts"

const tolerance = { relative: 1e-4 }
const found = (ours: Record<string, Array<number>>, peer: Record<string, Array<number>>, absolute = 0) =>
  disagreement("a-case", ours, peer, { ...tolerance, absolute })?.message

it("agrees within the relative tolerance, of either sign and of any size", () => {
  const ours = { losses: [6.2, -1e-9, 0, 1e9] }
  expect(found(ours, { losses: [6.2005, -1.00005e-9, 0, 1.00005e9] })).toBeUndefined()
})

it("names the case, the list, the value furthest apart and both sides' values", () => {
  const message = found({ losses: [6.2, 1, 3] }, { losses: [6.2, 1.001, 3.5] })
  expect(message).toBe(
    [
      "a-case: the two sides do not compute the same, so nothing is timed: losses: 2 of 3 values differ by more than relative 0.0001; furthest apart is number 2, ours 3, the peer's 3.5",
      "  ours: 6.2 1 3",
      "  peer: 6.2 1.001 3.5"
    ].join("\n")
  )
})

it("allows an absolute difference only where the case does", () => {
  const [ours, peer] = [{ embedding: [0.5, 0] }, { embedding: [0.5, 9e-7] }]
  expect(found(ours, peer, 1e-6)).toBeUndefined()
  expect(found(ours, peer)).toContain("1 of 2 values differ by more than relative 0.0001;")
  expect(found(ours, { embedding: [0.5, 2e-6] }, 1e-6)).toContain("more than relative 0.0001 + absolute 0.000001;")
})

it("disagrees about what is no number, or infinite", () => {
  expect(found({ losses: [Number.NaN] }, { losses: [Number.NaN] })).toContain("1 of 1 values")
  expect(found({ losses: [Infinity] }, { losses: [1] })).toContain("1 of 1 values")
})

it("disagrees about lists of other lengths, lists that one side lacks, and nothing at all", () => {
  expect(found({ losses: [1, 2] }, { losses: [1] })).toContain("losses: ours are 2 values, the peer's 1")
  expect(found({ losses: [1], labels: [1] }, { losses: [1] })).toContain("only our side has labels")
  expect(found({ losses: [1] }, { losses: [1], labels: [1] })).toContain("only the peer has labels")
  expect(found({}, {})).toContain("neither has values to compare")
})

it("shortens long lists", () => {
  const message = found({ labels: new Array(100).fill(1) }, { labels: new Array(100).fill(2) })
  expect(message).toContain("100 of 100 values")
  expect(message).toContain("  peer: 2 2 2 2 2 2 2 2 2 2 2 2 … (100)")
})
