/** What the bench makes of its rounds. */
import { expect, it } from "vitest"
import { median, summarise } from "../../bench/statistics.ts"

it("takes the middle value, or the mean of the two in the middle", () => {
  expect(median([3])).toBe(3)
  expect(median([9, 1, 2])).toBe(2)
  expect(median([10, 1, 3, 2])).toBe(2.5)
  expect(median([])).toBeNaN()
})

it("leaves the rounds in their order", () => {
  const values = [3, 1, 2]
  median(values)
  expect(values).toEqual([3, 1, 2])
})

it("divides the medians: the peer's cost by ours", () => {
  const rounds = [
    { ours: 1, peer: 2 },
    { ours: 2, peer: 3 },
    { ours: 4, peer: 100 }
  ]
  expect(summarise(rounds)).toEqual({ ours: 2, peer: 3, ratio: 1.5, spread: [1.5, 25] })
})

it("gives the lowest and the highest ratio of a round, whichever comes first", () => {
  const rounds = [
    { ours: 2, peer: 5 },
    { ours: 2, peer: 1 },
    { ours: 2, peer: 2 }
  ]
  expect(summarise(rounds)).toEqual({ ours: 2, peer: 2, ratio: 1, spread: [0.5, 2.5] })
})
