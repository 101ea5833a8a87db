import { Effect } from "effect"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { random } from "#data/random.ts"
import { Session } from "#engine/session.ts"
import type { Points } from "#model/distance-blocks.ts"
import { kmeans, kmeansPlusPlus } from "#model/kmeans.ts"
import { run } from "../stages/run-stage.ts"

/** Points on a grid, all different, in random order. */
const distinctPoints = fc
  .record({ rows: fc.integer({ min: 1, max: 40 }), dimension: fc.integer({ min: 1, max: 4 }), seed: fc.integer() })
  .map(({ rows, dimension, seed }): Points => {
    const draw = random(seed)
    const cells = draw.shuffle(Array.from({ length: rows * 3 }, (_, cell) => cell)).slice(0, rows)
    const values = Float32Array.from(cells.flatMap((cell) => [cell / 8, ...Array(dimension - 1).fill(draw.uniform())]))
    return { values, rows, dimension }
  })

const clustered = distinctPoints.chain((points) =>
  fc.record({
    points: fc.constant(points),
    classes: fc.integer({ min: 1, max: points.rows }),
    seed: fc.integer(),
    tolerance: fc.constantFrom(0, 1e-4, 0.1)
  })
)

const withTensorFlow = <A, E>(body: (tf: Session["Service"]["tf"]) => Effect.Effect<A, E>) =>
  run(Effect.flatMap(Session, ({ tf }) => body(tf)))

const rowOf = ({ values, dimension }: Pick<Points, "values" | "dimension">, row: number) =>
  values.subarray(row * dimension, (row + 1) * dimension)

const squaredDistance = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, d) => sum + (value - b[d]!) ** 2, 0)

/** Any rows as centroids, the same one several times perhaps. */
const anyCentroids = (points: Points, classes: number, seed: number) => {
  const draw = random(seed)
  return Float32Array.from(Array.from({ length: classes }, () => [...rowOf(points, draw.int(points.rows))]).flat())
}

describe("kmeans", () => {
  it("never lets the inertia grow from one iteration to the next", () =>
    withTensorFlow((tf) =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(clustered, async ({ points, classes, seed }) => {
            const start = anyCentroids(points, classes, seed)
            let before = Number.POSITIVE_INFINITY
            for (let maxIterations = 1; maxIterations <= 6; maxIterations++) {
              const options = { classes, maxIterations, tolerance: 0 }
              const { inertia, iterations } = await Effect.runPromise(kmeans(tf, points, start, options))
              expect(inertia).toBeLessThanOrEqual(before + 1e-4)
              before = inertia
              if (iterations < maxIterations) break
            }
          }),
          { numRuns: 30 }
        )
      )
    ))

  it("ends with every point at its nearest centroid, every centroid the mean of its points, none without points", () =>
    withTensorFlow((tf) =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(clustered, async ({ points, classes, seed }) => {
            const start = anyCentroids(points, classes, seed)
            const options = { classes, maxIterations: 300, tolerance: 0 }
            const { labels, sizes, centroids, inertia } = await Effect.runPromise(kmeans(tf, points, start, options))
            const clusters = { values: centroids, dimension: points.dimension }
            let sum = 0
            for (const [row, label] of labels.entries()) {
              const own = squaredDistance(rowOf(points, row), rowOf(clusters, label))
              sum += own
              for (let other = 0; other < classes; other++)
                expect(own).toBeLessThanOrEqual(squaredDistance(rowOf(points, row), rowOf(clusters, other)) + 1e-5)
            }
            expect(inertia).toBeCloseTo(sum, 3)
            for (const [label, size] of sizes.entries()) {
              const members = [...labels.keys()].filter((row) => labels[row] === label)
              expect(size).toBe(members.length)
              expect(size).toBeGreaterThan(0)
              for (let d = 0; d < points.dimension; d++) {
                const mean = members.reduce((total, row) => total + rowOf(points, row)[d]!, 0) / size
                expect(rowOf(clusters, label)[d]).toBeCloseTo(mean, 5)
              }
            }
          }),
          { numRuns: 40 }
        )
      )
    ))

  it("with as many classes as points gives each its own", () =>
    withTensorFlow((tf) =>
      Effect.gen(function* () {
        const points = fc.sample(distinctPoints, { numRuns: 1, seed: 3 })[0]!
        const options = { classes: points.rows, maxIterations: 300, tolerance: 0 }
        const start = yield* kmeansPlusPlus(tf, points, points.rows, 1)
        const found = yield* kmeans(tf, points, start, options)
        expect(found.inertia).toBe(0)
        expect([...found.sizes]).toEqual(Array(points.rows).fill(1))
      })
    ))

  it("gives an empty cluster the point farthest from its centroid", () =>
    withTensorFlow((tf) =>
      Effect.gen(function* () {
        const points = { values: Float32Array.of(0, 1, 2, 10), rows: 4, dimension: 1 }
        const options = { classes: 2, maxIterations: 1, tolerance: 0 }
        const { labels, centroids } = yield* kmeans(tf, points, Float32Array.of(1, 1000), options)
        expect([...labels]).toEqual([0, 0, 0, 1])
        expect([...centroids]).toEqual([1, 10])
      })
    ))

  it("with fewer different points than classes leaves every centroid on a point", () =>
    withTensorFlow((tf) =>
      Effect.gen(function* () {
        const points = { values: Float32Array.of(3, 4, 4), rows: 3, dimension: 1 }
        const options = { classes: 3, maxIterations: 20, tolerance: 0 }
        const start = yield* kmeansPlusPlus(tf, points, 3, 1)
        for (const given of [start, Float32Array.of(3, 4, 4), Float32Array.of(3, 3, 3)]) {
          const { labels, centroids, inertia } = yield* kmeans(tf, points, given, options)
          expect(inertia).toBe(0)
          expect([...centroids].sort()).toEqual([3, 4, 4])
          expect(labels[1]).toBe(labels[2])
        }
      })
    ))

  it("assigns points of many blocks as of one", () =>
    withTensorFlow((tf) =>
      Effect.gen(function* () {
        const draw = random(5)
        const rows = 10_000
        const values = Float32Array.from(
          { length: rows * 2 },
          (_, at) => (at % 2 ? 0 : draw.int(4)) + draw.uniform(0, 0.1)
        )
        const start = Float32Array.of(0, 0, 1, 0, 2, 0, 3, 0)
        const options = { classes: 4, maxIterations: 300, tolerance: 0 }
        const { labels } = yield* kmeans(tf, { values, rows, dimension: 2 }, start, options)
        expect(labels.every((label, row) => label === Math.floor(values[row * 2]!))).toBe(true)
      })
    ))
})

describe("kmeansPlusPlus", () => {
  it("takes different points for its seeds, the same for the same seed", () =>
    withTensorFlow((tf) =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(clustered, async ({ points, classes, seed }) => {
            const draw = () => Effect.runPromise(kmeansPlusPlus(tf, points, classes, seed))
            const centroids = await draw()
            const firsts = Array.from({ length: classes }, (_, label) => centroids[label * points.dimension])
            expect(new Set(firsts).size).toBe(classes)
            const rows = Array.from({ length: points.rows }, (_, row) => points.values[row * points.dimension])
            for (const first of firsts) expect(rows).toContain(first)
            expect(await draw()).toEqual(centroids)
          }),
          { numRuns: 30 }
        )
      )
    ))

  it("finds well separated clusters, each once", () =>
    withTensorFlow((tf) =>
      Effect.gen(function* () {
        const draw = random(1)
        const values = Float32Array.from({ length: 200 }, (_, row) => (row % 10) * 100 + draw.uniform())
        for (let seed = 0; seed < 10; seed++) {
          const seeds = yield* kmeansPlusPlus(tf, { values, rows: 200, dimension: 1 }, 10, seed)
          expect([...seeds].map((value) => Math.floor(value / 100)).sort((a, b) => a - b)).toEqual([
            ...Array(10).keys()
          ])
        }
      })
    ))

  it("finds clusters whose rows lie in many blocks", () =>
    withTensorFlow((tf) =>
      Effect.gen(function* () {
        const draw = random(2)
        const rows = 5_000
        const values = Float32Array.from({ length: rows }, (_, row) => Math.floor(row / 500) * 100 + draw.uniform())
        const seeds = yield* kmeansPlusPlus(tf, { values, rows, dimension: 1 }, 10, 1)
        expect([...seeds].map((value) => Math.floor(value / 100)).sort((a, b) => a - b)).toEqual([...Array(10).keys()])
      })
    ))

  it("leaves no tensor behind", () =>
    withTensorFlow((tf) =>
      Effect.gen(function* () {
        const points = fc.sample(distinctPoints, { numRuns: 1, seed: 9 })[0]!
        const before = tf.memory().numTensors
        const start = yield* kmeansPlusPlus(tf, points, 2, 1)
        yield* kmeans(tf, points, start, { classes: 2, maxIterations: 10, tolerance: 0 })
        expect(tf.memory().numTensors).toBe(before)
      })
    ))
})
