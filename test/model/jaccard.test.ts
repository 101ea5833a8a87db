import { Effect } from "effect"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { random } from "#data/random.ts"
import { Session } from "#engine/session.ts"
import type { Points } from "#model/distance-blocks.ts"
import { JaccardThreads, jaccardGraph } from "#model/jaccard.ts"
import type { EncodingSettings } from "#model/k-reciprocal.ts"
import type { SparseRows } from "#model/sparse-rows.ts"
import { run } from "../stages/run-stage.ts"

const clustered = ({ rows, clusters, dimension, seed }: { [name: string]: number }): Points => {
  const draw = random(seed!)
  const centres = Array.from({ length: clusters! }, () => Array.from({ length: dimension! }, () => draw.normal()))
  const values = Float32Array.from(
    Array.from({ length: rows! }, () => {
      const noisy = draw.pick(centres).map((value) => value + draw.normal())
      const norm = Math.hypot(...noisy)
      return noisy.map((value) => value / norm)
    }).flat()
  )
  return { values, rows: rows!, dimension: dimension! }
}

/** The distances by the definition, every pair of them; nothing is shared with the code under test. */
const byDefinition = ({ values, rows, dimension }: Points, { k1, k2, encoding }: EncodingSettings): number[][] => {
  const all = [...Array(rows).keys()]
  const squared = all.map((i) =>
    all.map((j) => {
      let sum = 0
      for (let d = 0; d < dimension; d++) sum += (values[i * dimension + d]! - values[j * dimension + d]!) ** 2
      return sum
    })
  )
  const order = all.map((i) =>
    [...all].sort((a, b) => Number(b === i) - Number(a === i) || squared[i]![a]! - squared[i]![b]! || a - b)
  )
  const lists = order.map((list) => list.slice(0, encoding === "openunreid" ? k1 : k1 + 1))
  const reciprocal = (i: number, k: number) =>
    lists[i]!.slice(0, k + 1).filter((j) => lists[j]!.slice(0, k + 1).includes(i))
  const rounded = k1 % 2 === 0 ? k1 / 2 : 2 * Math.round(k1 / 4)
  const v = all.map((i) => {
    const own = reciprocal(i, k1)
    const members = new Set(own)
    for (const j of own) {
      const half = reciprocal(j, rounded)
      if (half.filter((x) => own.includes(x)).length > (2 / 3) * half.length) for (const x of half) members.add(x)
    }
    const scale = encoding === "openunreid" ? 1 : Math.max(...squared[i]!)
    const weights = all.map((j) => (members.has(j) ? Math.exp(-squared[i]![j]! / scale) : 0))
    const sum = weights.reduce((a, b) => a + b)
    return weights.map((weight) => weight / sum)
  })
  const mean = all.map((i) => {
    const near = order[i]!.slice(0, k2)
    return all.map((x) => near.reduce((sum, j) => sum + v[j]![x]!, 0) / near.length)
  })
  return all.map((i) =>
    all.map((j) => {
      const common = all.reduce((sum, x) => sum + Math.min(mean[i]![x]!, mean[j]![x]!), 0)
      return i === j ? 0 : 1 - common / (2 - common)
    })
  )
}

const withTensorFlow = <A, E>(body: (tf: Session["Service"]["tf"]) => Effect.Effect<A, E>) =>
  run(Effect.flatMap(Session, ({ tf }) => body(tf)))

const rowOf = ({ starts, columns, values }: SparseRows, row: number) =>
  new Map(
    Array.from(columns.subarray(starts[row], starts[row + 1]), (column, at) => [column, values[starts[row]! + at]!])
  )

describe("jaccardGraph", () => {
  it("has the distances of the definition, of all pairs within the limit and of no others", () =>
    withTensorFlow((tf) =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(
            fc.record({
              rows: fc.integer({ min: 2, max: 60 }),
              clusters: fc.integer({ min: 1, max: 6 }),
              dimension: fc.integer({ min: 2, max: 9 }),
              seed: fc.integer()
            }),
            fc.integer({ min: 1, max: 12 }).chain((k1) =>
              fc.record({
                k1: fc.constant(k1),
                k2: fc.integer({ min: 1, max: k1 }),
                encoding: fc.constantFrom("openunreid" as const, "official" as const)
              })
            ),
            fc.constantFrom(0.3, 0.6, 0.95),
            async (sizes, settings, limit) => {
              const points = clustered(sizes)
              const graph = await Effect.runPromise(jaccardGraph(tf, points, settings, limit, () => {}))
              for (const [i, expected] of byDefinition(points, settings).entries()) {
                const found = rowOf(graph, i)
                for (const [j, distance] of expected.entries()) {
                  if (found.has(j)) expect(Math.abs(found.get(j)! - distance)).toBeLessThan(1e-5)
                  else if (i !== j) expect(distance).toBeGreaterThan(limit - 1e-5)
                }
                expect([...found.values()].every((distance) => distance <= Math.fround(limit))).toBe(true)
                expect(found.has(i)).toBe(false)
              }
            }
          ),
          { numRuns: 60 }
        )
      )
    ))

  it("has the same values for any number of threads", () =>
    withTensorFlow((tf) =>
      Effect.gen(function* () {
        const points = clustered({ rows: 2500, clusters: 150, dimension: 16, seed: 4 })
        const settings = { k1: 12, k2: 4, encoding: "openunreid" } as const
        const graphs = yield* Effect.forEach([1, 2, 3], (threads) =>
          jaccardGraph(tf, points, settings, 0.7, () => {}).pipe(Effect.provideService(JaccardThreads, threads))
        )
        expect(graphs[0]!.columns.length).toBeGreaterThan(10_000)
        for (const graph of graphs.slice(1)) expect(graph).toEqual(graphs[0])
      })
    ))

  it("lists a pair whose distance is just the limit, which float32 may round up", () =>
    withTensorFlow((tf) =>
      Effect.gen(function* () {
        const points = clustered({ rows: 60, clusters: 4, dimension: 6, seed: 8 })
        const settings = { k1: 9, k2: 3, encoding: "openunreid" } as const
        const { columns, values, starts } = yield* jaccardGraph(tf, points, settings, 1, () => {})
        // A float64 number below the distance that rounds to it.
        const at = starts[7]!
        const limit = values[at]! * (1 - 2 ** -40)
        const graph = yield* jaccardGraph(tf, points, settings, limit, () => {})
        expect(rowOf(graph, 7).get(columns[at]!)).toBe(values[at])
      })
    ))

  it("of a point and its twins: distance 0, and the lists are full of them", () =>
    withTensorFlow((tf) =>
      Effect.gen(function* () {
        const draw = random(2)
        const one = Array.from({ length: 8 }, () => draw.normal())
        const rows = 40
        const points = { values: Float32Array.from(Array(rows).fill(one).flat()), rows, dimension: 8 }
        const graph = yield* jaccardGraph(tf, points, { k1: 39, k2: 1, encoding: "official" }, 0.5, () => {})
        for (let row = 0; row < rows; row++) expect([...rowOf(graph, row).values()]).toEqual(Array(rows - 1).fill(0))
      })
    ))

  it("leaves no tensor behind", () =>
    withTensorFlow((tf) =>
      Effect.gen(function* () {
        const before = tf.memory().numTensors
        const points = clustered({ rows: 50, clusters: 3, dimension: 4, seed: 1 })
        yield* jaccardGraph(tf, points, { k1: 5, k2: 2, encoding: "openunreid" }, 0.5, () => {})
        expect(tf.memory().numTensors).toBe(before)
      })
    ))
})
