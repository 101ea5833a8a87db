import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { automaticEps, clusterMeans, dbscan } from "#model/dbscan.ts"
import { reliable } from "#model/reliability.ts"
import { joined } from "#model/sparse-rows.ts"

type Pair = readonly [a: number, b: number, distance: number]

/** A symmetric graph of these pairs. */
const graphOf = (rows: number, pairs: ReadonlyArray<Pair>) =>
  joined(
    [
      Array.from({ length: rows }, (_, row) =>
        pairs.flatMap(([a, b, distance]) => (a === row ? [[b, distance]] : b === row ? [[a, distance]] : []))
      )
    ].map((lists) => ({
      lengths: Int32Array.from(lists, (list) => list.length),
      columns: Int32Array.from(lists.flat(), ([other]) => other!),
      values: Float32Array.from(lists.flat(), ([, distance]) => distance!)
    }))
  )

const pairsOf = fc.integer({ min: 1, max: 25 }).chain((rows) =>
  fc
    .array(fc.tuple(fc.nat(rows - 1), fc.nat(rows - 1), fc.constantFrom(0.1, 0.3, 0.5, 0.9)), { maxLength: 80 })
    .map((drawn) => {
      const pairs = new Map(drawn.filter(([a, b]) => a < b).map((pair) => [`${pair[0]} ${pair[1]}`, pair]))
      return { rows, pairs: [...pairs.values()] }
    })
)

/** Clusters by the definition: connected core points; a border point goes to the first of its core neighbours' clusters. */
const byDefinition = (rows: number, pairs: ReadonlyArray<Pair>, eps: number, minSamples: number) => {
  const near = (row: number) => pairs.flatMap(([a, b, d]) => (d > eps ? [] : a === row ? [b] : b === row ? [a] : []))
  const core = Array.from({ length: rows }, (_, row) => near(row).length + 1 >= minSamples)
  const component = Array.from({ length: rows }, (_, row) => row)
  for (let round = 0; round < rows; round++)
    for (const [a, b, d] of pairs)
      if (core[a] && core[b] && d <= eps) component[a] = component[b] = Math.min(component[a]!, component[b]!)
  const firsts = [...new Set(component.filter((_, row) => core[row]))].sort((a, b) => a - b)
  return core.map((isCore, row) => {
    const reached = isCore ? [row] : near(row).filter((other) => core[other])
    const clusters = reached.map((other) => firsts.indexOf(component[other]!))
    return clusters.length === 0 ? -1 : Math.min(...clusters)
  })
}

describe("dbscan", () => {
  it("gives the clusters of the definition, numbered by their first core point", () => {
    fc.assert(
      fc.property(
        pairsOf,
        fc.constantFrom(0.1, 0.3, 0.5),
        fc.integer({ min: 1, max: 5 }),
        ({ rows, pairs }, eps, minSamples) => {
          const found = [...dbscan(graphOf(rows, pairs), Math.fround(eps), minSamples)]
          expect(found).toEqual(byDefinition(rows, pairs, eps, minSamples))
        }
      ),
      { numRuns: 300 }
    )
  })

  it("takes a distance of just eps as within it, although float32 holds neither exactly", () => {
    expect([...dbscan(graphOf(2, [[0, 1, 0.6]]), 0.6, 2)]).toEqual([0, 0])
    expect([...dbscan(graphOf(2, [[0, 1, 0.7]]), 0.7, 2)]).toEqual([0, 0])
  })

  it("walks a long chain without a stack", () => {
    const rows = 20_000
    const chain = {
      lengths: Int32Array.from({ length: rows }, (_, row) => (row === 0 || row === rows - 1 ? 1 : 2)),
      columns: Int32Array.from(
        Array.from({ length: rows }, (_, row) => [row - 1, row + 1].filter((o) => o >= 0 && o < rows)).flat()
      ),
      values: new Float32Array(2 * rows - 2)
    }
    expect(new Set(dbscan(joined([chain]), 0.5, 2))).toEqual(new Set([0]))
  })
})

describe("automaticEps", () => {
  it("is the mean of the smallest distances that are not 0, pairs that are not listed being 1", () => {
    // 40 points: 780 pairs, of which 0.0016 · 779 rounds to 1, and 0.0016 · 780 too.
    expect(
      automaticEps(
        graphOf(40, [
          [0, 1, 0],
          [1, 2, 0.25],
          [2, 3, 0.5]
        ])
      )
    ).toBe(0.25)
    // 60 points: 1,770 pairs, of which 3 count.
    expect(
      automaticEps(
        graphOf(60, [
          [1, 2, 0.25],
          [2, 3, 0.5]
        ])
      )
    ).toBe((0.25 + 0.5 + 1) / 3)
  })

  it("is no number where so small a share of the pairs is none", () => {
    expect(automaticEps(graphOf(3, [[0, 1, 0.5]]))).toBeNaN()
  })
})

describe("clusterMeans", () => {
  it("leaves outliers out", () => {
    const points = { values: Float32Array.of(1, 2, 3, 4, 100, 100, 5, 8), rows: 4, dimension: 2 }
    const { sizes, centroids } = clusterMeans(points, Int32Array.of(1, 0, -1, 1))
    expect([[...sizes], [...centroids]]).toEqual([
      [1, 2],
      [3, 4, 3, 5]
    ])
  })
})

describe("reliable", () => {
  const labels = (...all: ReadonlyArray<number>) => Int32Array.from(all)

  it("keeps what all three radii agree on", () => {
    const same = labels(0, 0, -1, 1, 1, 1)
    expect(reliable(same, same, same)).toEqual({ labels: same, independence: 1 })
  })

  it("drops a cluster that the larger radius merges into another, and numbers the rest anew", () => {
    const found = labels(0, 0, 0, 1, 1, 1, 2, 2, 2)
    const loose = labels(0, 0, 0, 0, 0, 0, 1, 1, 1)
    expect([...reliable(found, found, loose, 0.9).labels]).toEqual([-1, -1, -1, -1, -1, -1, 0, 0, 0])
    expect([...reliable(found, found, loose, 0.5).labels]).toEqual([...found])
  })

  it("drops the points of a cluster that the smaller radius splits off", () => {
    const found = labels(0, 0, 0, 0, 0)
    expect([...reliable(found, labels(0, 0, 0, -1, -1), found, 0).labels]).toEqual([0, 0, 0, -1, -1])
    expect([...reliable(found, labels(1, 0, 0, 1, 1), found, 0).labels]).toEqual([0, -1, -1, 0, 0])
  })

  it("leaves no cluster of one point", () => {
    expect([...reliable(labels(0, 0), labels(-1, -1), labels(0, 0), 0).labels]).toEqual([0, 0])
    // Of the second cluster one point is compact, by itself.
    const found = labels(0, 0, 1, 1, -1)
    expect([...reliable(found, labels(0, 0, -1, 1, 1), found, 0).labels]).toEqual([0, 0, -1, -1, -1])
  })

  it("asks for the independence that nine tenths of the first epoch's clusters have", () => {
    // Ten clusters of two; the larger radius adds i outliers to the i-th.
    const found: Array<number> = []
    const loose: Array<number> = []
    for (let cluster = 0; cluster < 10; cluster++) {
      found.push(cluster, cluster, ...Array(cluster).fill(-1))
      loose.push(cluster, cluster, ...Array(cluster).fill(cluster))
    }
    const result = reliable(labels(...found), labels(...found), labels(...loose))
    // The tenth, round(0.9 · 10) from the best on, has 2 of 11.
    expect(result.independence).toBe(2 / 11)
  })
})
