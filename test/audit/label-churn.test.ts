/** NMI against scikit-learn's values, and what moving images means. */
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { labelChurn } from "#audit/label-churn.ts"

const labelled = (labels: ReadonlyArray<number>) => new Map(labels.map((label, i) => [`${i}.jpg`, label]))

describe("label churn", () => {
  // sklearn.metrics.normalized_mutual_info_score of these labels.
  it.each([
    [[0, 0, 1, 1], [1, 1, 0, 0], 1, 0],
    [[0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2], 0.515803742979, 2],
    [[0, 0, 1, 1], [0, 1, 0, 1], 0, 2],
    [[0, 0, 0, 0], [0, 0, 0, 0], 1, 0]
  ])("%j to %j", (before, after, nmi, moved) => {
    const churn = labelChurn(labelled(before), labelled(after))
    expect(churn.nmi).toBeCloseTo(nmi, 10)
    expect(churn.moved).toBe(moved)
    expect(churn.images).toBe(before.length)
  })

  it("matches outliers with outliers alone", () => {
    expect(labelChurn(labelled([0, 0, -1, -1]), labelled([0, -1, -1, 0])).moved).toBe(2)
  })

  it("counts images that both label", () => {
    expect(labelChurn(labelled([0, 0, 1]), labelled([0, 0])).images).toBe(2)
  })

  it("does not depend on the clusters' names, nor, in NMI, on the direction", () => {
    const labels = fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 30 })
    fc.assert(
      fc.property(labels, fc.infiniteStream(fc.integer({ min: 0, max: 4 })), (before, more) => {
        const after = before.map(() => more.next().value)
        const [a, b, renamed] = [before, after, after.map((label) => (label + 3) % 5)].map(labelled)
        const churn = labelChurn(a!, b!)
        expect(labelChurn(a!, renamed!).nmi).toBeCloseTo(churn.nmi, 12)
        expect(labelChurn(b!, a!).nmi).toBeCloseTo(churn.nmi, 12)
        expect(labelChurn(a!, a!)).toEqual({ images: before.length, nmi: expect.closeTo(1, 12), moved: 0 })
        expect(churn.moved).toBeLessThan(Math.max(1, before.length))
      })
    )
  })
})
