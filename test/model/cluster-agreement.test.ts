/** How alike two clusterings are: by hand, and what holds of any two. */
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { clusterAgreement } from "#model/cluster-agreement.ts"

describe("clusterAgreement", () => {
  it.each<readonly [what: string, before: Array<number>, after: Array<number>, moved: number, nmi: number]>([
    ["the same under other numbers", [0, 0, 1, 1, 2], [7, 7, 0, 0, 3], 0, 1],
    ["nothing in common", [0, 0, 1, 1], [0, 1, 0, 1], 2, 0],
    // MI = 2/3 ln 2, entropies ln 2 and ln 3.
    ["two clusters into three", [0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2], 2, (4 / 3) * (Math.LN2 / Math.log(6))],
    ["two clusters that became one", [0, 0, 1], [0, 0, 0], 0, 0],
    ["an image that became an outlier", [0, 0, 0], [0, 0, -1], 1, 0],
    ["one cluster each", [0, 0], [5, 5], 0, 1],
    ["one image", [0], [-1], 0, 1]
  ])("%s", (_, before, after, moved, nmi) => {
    const agreement = clusterAgreement(before, after)
    expect(agreement.moved).toBe(moved)
    expect(agreement.nmi).toBeCloseTo(nmi, 12)
  })

  const labels = fc.array(fc.tuple(fc.integer({ min: -1, max: 4 }), fc.integer({ min: -1, max: 4 })), { minLength: 1 })

  it("does not look at the clusters' numbers, and its information is symmetric", () => {
    fc.assert(
      fc.property(labels, (rows) => {
        const [before, after] = [rows.map(([a]) => a), rows.map(([, b]) => b)]
        const { moved, nmi } = clusterAgreement(before, after)
        const renamed = clusterAgreement(
          before.map((a) => 10 - a),
          after.map((b) => 3 * b)
        )
        expect(renamed.moved).toBe(moved)
        expect(renamed.nmi).toBeCloseTo(nmi, 10)
        expect(clusterAgreement(after, before).nmi).toBeCloseTo(nmi, 10)
        expect(moved).toBeLessThan(rows.length)
        expect(nmi).toBeGreaterThanOrEqual(0)
        expect(nmi).toBeLessThanOrEqual(1)
      })
    )
  })
})
