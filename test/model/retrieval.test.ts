import { Effect } from "effect"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { Session, valuesOf } from "#engine/session.ts"
import { rankGallery, scores, squaredDistances } from "#model/retrieval.ts"
import { run } from "../stages/run-stage.ts"

const person = fc.integer({ min: 0, max: 4 })
const camera = fc.integer({ min: 1, max: 3 })
const gallery = fc.array(fc.record({ person, camera, distance: fc.constantFrom(-1e-7, -0, 0, 0.5, 1, 1.5, 2, 2.5) }), {
  maxLength: 30
})

const columns = (rows: ReadonlyArray<{ person: number; camera: number; distance: number }>) => ({
  persons: { person: Int32Array.from(rows, (r) => r.person), camera: Int32Array.from(rows, (r) => r.camera) },
  distances: Float32Array.from(rows, (r) => r.distance)
})

describe("rankGallery", () => {
  it("agrees with the definition of average precision", () => {
    fc.assert(
      fc.property(person, camera, gallery, (p, c, rows) => {
        const { persons, distances } = columns(rows)
        const { order, matches, averagePrecision } = rankGallery(p, c, persons, distances)
        const valid = rows
          .map((row, index) => ({ ...row, index }))
          .filter((row) => !(row.person === p && row.camera === c))
          .sort((a, b) => a.distance - b.distance || a.index - b.index)
        expect([...order]).toEqual(valid.map(({ index }) => index))
        const relevant = valid.map((row) => row.person === p)
        expect(matches).toEqual(relevant.flatMap((match, i) => (match ? [i + 1] : [])))
        const precisions = relevant.flatMap((match, i) =>
          match ? [relevant.slice(0, i + 1).filter(Boolean).length / (i + 1)] : []
        )
        if (precisions.length === 0) expect(averagePrecision).toBeUndefined()
        else expect(averagePrecision).toBeCloseTo(precisions.reduce((a, b) => a + b, 0) / precisions.length, 12)
      })
    )
  })

  it("counts a distractor (person 0) as wrong and leaves out the query's own images of its camera", () => {
    const { persons, distances } = columns([
      { person: 1, camera: 1, distance: 0 },
      { person: 0, camera: 2, distance: 0.5 },
      { person: 1, camera: 2, distance: 1 }
    ])
    expect(rankGallery(1, 1, persons, distances)).toEqual({
      order: Int32Array.of(1, 2),
      matches: [2],
      averagePrecision: 0.5
    })
  })
})

describe("scores", () => {
  it("averages over the queries that have a match", () => {
    const rankings = [
      { matches: [1, 4], averagePrecision: 0.75 },
      { matches: [8], averagePrecision: 0.125 },
      { matches: [], averagePrecision: undefined }
    ]
    expect(scores(rankings, [1, 5, 10])).toEqual({ queries: 2, mAP: 0.4375, top: [0.5, 0.5, 1] })
  })

  it("lets CMC grow with k, between 0 and 1", () => {
    const ranking = fc.integer({ min: 1, max: 20 }).map((first) => ({ matches: [first], averagePrecision: 1 / first }))
    fc.assert(
      fc.property(fc.array(ranking, { minLength: 1 }), (rankings) => {
        const { top, mAP } = scores(rankings, [1, 5, 10, 20])
        expect([...top].sort((a, b) => a - b)).toEqual(top)
        expect(top[3]).toBe(1)
        expect(mAP).toBeGreaterThan(0)
        expect(mAP).toBeLessThanOrEqual(1)
      })
    )
  })
})

describe("squaredDistances", () => {
  it("agrees with the sum of squared differences", () =>
    run(
      Effect.map(Session, ({ tf }) => {
        const vector = fc.array(fc.double({ min: -2, max: 2, noNaN: true }), { minLength: 3, maxLength: 3 })
        const matrix = fc.array(vector, { minLength: 1, maxLength: 8 })
        fc.assert(
          fc.property(matrix, matrix, (q, g) => {
            const found = valuesOf(tf, () => squaredDistances(tf, tf.tensor2d(q), tf.tensor2d(g)))
            for (const [i, a] of q.entries())
              for (const [j, b] of g.entries()) {
                const expected = a.reduce((sum, value, d) => sum + (value - b[d]!) ** 2, 0)
                expect(found[i * g.length + j]).toBeCloseTo(expected, 4)
              }
          }),
          { numRuns: 30 }
        )
      })
    ))
})
