/** How alike two partitions are: by hand and by scikit-learn, and what holds of any two. */
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { clusterAgreement, identityAgreement } from "#model/cluster-agreement.ts"

const labelled = (labels: ReadonlyArray<number>) => new Map(labels.map((label, i) => [`${i}.jpg`, label]))

const between = (before: ReadonlyArray<number>, after: ReadonlyArray<number>) =>
  clusterAgreement(labelled(before), labelled(after))!

describe("two clusterings", () => {
  // 0.5158… is sklearn.metrics.normalized_mutual_info_score of these labels.
  it.each<readonly [what: string, before: Array<number>, after: Array<number>, moved: number, nmi: number]>([
    ["the same under other numbers", [0, 0, 1, 1, 2], [7, 7, 0, 0, 3], 0, 1],
    ["nothing in common", [0, 0, 1, 1], [0, 1, 0, 1], 2, 0],
    ["two clusters into three", [0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2], 2, 0.515803742979],
    ["two clusters that became one", [0, 0, 1], [0, 0, 0], 1, 0],
    ["one cluster that broke into two", [0, 0, 0], [0, 0, 1], 1, 0],
    ["one cluster each", [0, 0], [5, 5], 0, 1],
    ["an image that became an outlier", [0, 0, 0], [0, 0, -1], 1, 0],
    ["outliers that stayed outliers", [0, 0, -1, -1], [3, 3, -1, -1], 0, 1],
    ["a cluster that became outliers as a whole", [0, 0, 1, 1], [-1, -1, 1, 1], 2, 1],
    ["outliers that changed places", [0, 0, -1, -1], [0, -1, -1, 0], 2, 0]
  ])("%s", (_, before, after, moved, nmi) => {
    const agreement = between(before, after)
    expect(agreement.moved).toBe(moved)
    expect(agreement.nmi).toBeCloseTo(nmi, 10)
    expect(agreement.images).toBe(before.length)
  })

  it("are compared over the images that both label, and not at all without any", () => {
    expect(clusterAgreement(labelled([0, 0, 1]), labelled([0, 0]))!.images).toBe(2)
    expect(clusterAgreement(labelled([0]), new Map([["other.jpg", 0]]))).toBeUndefined()
  })

  it("agree whatever their clusters are called, and, in NMI, in both directions", () => {
    const label = fc.integer({ min: -1, max: 4 })
    fc.assert(
      fc.property(fc.array(fc.tuple(label, label), { minLength: 1, maxLength: 40 }), (rows) => {
        const [before, after] = [rows.map(([a]) => a), rows.map(([, b]) => b)]
        const { images, moved, nmi } = between(before, after)
        const renamed = between(
          before,
          after.map((b) => (b < 0 ? b : 10 + 3 * b))
        )
        expect(renamed.nmi).toBeCloseTo(nmi, 12)
        expect(between(after, before).nmi).toBeCloseTo(nmi, 12)
        expect(between(before, before)).toEqual({ images, nmi: expect.closeTo(1, 12), moved: 0 })
        expect(moved).toBeLessThanOrEqual(images)
        expect(nmi).toBeGreaterThanOrEqual(0)
        expect(nmi).toBeLessThanOrEqual(1)
      })
    )
  })
})

describe("a clustering and the identities", () => {
  // 0.3437… is 2·MI/(H + H) of 3 + 1 and 2 + 2 images, two of which share a cell.
  it.each<
    readonly [what: string, labels: Array<number>, people: Array<number>, images: number, purity: number, nmi: number]
  >([
    ["the same", [0, 0, 1], [7, 7, 3], 3, 1, 1],
    ["a cluster of two identities", [0, 0, 0, 1], [7, 7, 3, 3], 4, 0.75, 0.3437110184854],
    ["two clusters of one identity", [0, 0, 1], [7, 7, 7], 3, 1, 0],
    ["outliers, unknown identities and distractors", [0, -1, 0, 0, 1], [7, 7, -1, 0, 3], 2, 1, 1]
  ])("%s", (_, labels, people, images, purity, nmi) => {
    expect(identityAgreement(labelled(labels), labelled(people))).toEqual({
      images,
      purity,
      nmi: expect.closeTo(nmi, 10)
    })
  })

  it("cannot be compared where no identity is known", () => {
    expect(identityAgreement(labelled([0, -1]), labelled([-1, 4]))).toBeUndefined()
  })
})
