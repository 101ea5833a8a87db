/** The search for candidates over several blocks, against all distances. */
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { random } from "#data/random.ts"
import { Session } from "#engine/session.ts"
import type { Points } from "#model/distance-blocks.ts"
import { nearestCandidates } from "#model/neighbours.ts"
import { run } from "../stages/run-stage.ts"

const drawn = (rows: number, dimension: number): Points => {
  const draw = random(1, "points", rows)
  return { values: Float32Array.from({ length: rows * dimension }, () => draw.normal()), rows, dimension }
}

const distances = ({ values, rows, dimension }: Points, row: number) =>
  Float64Array.from({ length: rows }, (_, other) => {
    let sum = 0
    for (let d = 0; d < dimension; d++) sum += (values[row * dimension + d]! - values[other * dimension + d]!) ** 2
    return sum
  })

const search = (points: Points, count: number, withFarthest: boolean, shares: Array<number> = []) =>
  run(
    Effect.flatMap(Session, ({ tf }) =>
      nearestCandidates(tf, points, count, withFarthest, (share) => shares.push(share))
    )
  )

describe("the candidates of each point", () => {
  // One block, two, and blocks whose last one is not full; an odd number of pairs leaves a lane without work.
  it.each([20, 512, 513, 1200, 2100])("are its nearest points, of %i points", async (rows) => {
    const points = drawn(rows, 8)
    const count = Math.min(rows, 17)
    const { indices, farthest } = await search(points, count, true)
    for (let row = 0; row < rows; row++) {
      const own = indices.subarray(row * count, (row + 1) * count)
      expect(new Set(own).size).toBe(count)
      const all = distances(points, row)
      const nearest = all.toSorted().subarray(0, count)
      for (const [at, other] of own.entries()) expect(all[other]).toBeCloseTo(nearest[at]!, 4)
      expect(all[farthest![row]!]).toBeCloseTo(Math.max(...all), 4)
    }
  })

  it("are all points where there are no more", async () => {
    const { indices } = await search(drawn(6, 3), 6, false)
    for (let row = 0; row < 6; row++)
      expect([...indices.subarray(row * 6, (row + 1) * 6)].sort()).toEqual([0, 1, 2, 3, 4, 5])
  })

  it("say how far the search is, up to its end", async () => {
    const shares: Array<number> = []
    await search(drawn(1200, 4), 5, false, shares)
    expect(shares.length).toBeGreaterThan(2)
    expect(shares).toEqual(shares.toSorted((a, b) => a - b))
    expect(shares.at(-1)).toBe(1)
  })
})
