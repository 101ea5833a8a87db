/**
 * k-means: k-means++ seeds and Lloyd's iterations, with scikit-learn's stopping rules. Distances are computed on the
 * engine, a block of rows at a time.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { Effect } from "effect"
import { random } from "#data/random.ts"
import { valuesOf } from "#engine/session.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"

export interface Points {
  /** Row-major, rows × dimension. */
  readonly values: Float32Array
  readonly rows: number
  readonly dimension: number
}

export interface Clustering {
  readonly labels: Int32Array
  readonly sizes: Int32Array
  /** Row-major, classes × dimension. */
  readonly centroids: Float32Array
  /** Sum of the squared distances to the final centroids. */
  readonly inertia: number
  readonly iterations: number
}

export interface KMeansOptions {
  readonly classes: number
  readonly maxIterations: number
  /** Stops when the centroids' squared shifts sum up to at most this times the mean variance of the columns. */
  readonly tolerance: number
}

const squaredDistance = (a: Float32Array, i: number, b: Float32Array, j: number, dimension: number): number => {
  let sum = 0
  for (let d = 0; d < dimension; d++) {
    const difference = a[i * dimension + d]! - b[j * dimension + d]!
    sum += difference * difference
  }
  return sum
}

/** Mean over the columns of their variance (n in the denominator). */
const meanVariance = ({ values, rows, dimension }: Points): number => {
  let total = 0
  for (let d = 0; d < dimension; d++) {
    let sum = 0
    let squares = 0
    for (let row = 0; row < rows; row++) {
      const value = values[row * dimension + d]!
      sum += value
      squares += value * value
    }
    total += squares / rows - (sum / rows) ** 2
  }
  return total / dimension
}

// Rows whose distances are on the engine at once; bounds the memory to this many times the classes.
const blockRows = 4096

const squaredNorms = (tf: TensorFlow, x: tfjs.Tensor2D): tfjs.Tensor2D => tf.sum(tf.square(x), 1, true)

/** A tensor that is freed with the scope. */
const freed = (tf: TensorFlow, make: () => tfjs.Tensor2D) =>
  Effect.acquireRelease(
    Effect.sync(() => tf.tidy(make)),
    (tensor) => Effect.sync(() => tensor.dispose())
  )

/** Nearest centroid of each row. */
const assign = (tf: TensorFlow, blocks: ReadonlyArray<tfjs.Tensor2D>, points: Points, centroids: Float32Array) =>
  Effect.gen(function* () {
    const labels = new Int32Array(points.rows)
    for (const [index, block] of blocks.entries()) {
      labels.set(
        valuesOf(tf, () => {
          const c = tf.tensor2d(centroids, [centroids.length / points.dimension, points.dimension])
          // ‖x‖² is the same for all centroids of a row.
          const relative = tf.sub(tf.transpose(squaredNorms(tf, c)), tf.mul(2, tf.matMul(block, c, false, true)))
          return tf.argMin(relative, 1)
        }),
        index * blockRows
      )
      yield* Effect.yieldNow
    }
    return labels
  })

const distancesTo = ({ values, rows, dimension }: Points, centroids: Float32Array, labels: Int32Array): Float64Array =>
  Float64Array.from({ length: rows }, (_, row) => squaredDistance(values, row, centroids, labels[row]!, dimension))

/**
 * Means of the clusters. An empty one takes the point that lies farthest from its own centroid, which leaves its old
 * cluster, as scikit-learn relocates them; but the only point of a cluster stays there.
 */
const means = (points: Points, labels: Int32Array, classes: number, centroids: Float32Array) => {
  const { values, rows, dimension } = points
  const sizes = new Int32Array(classes)
  const sums = new Float64Array(classes * dimension)
  const add = (row: number, label: number, sign: number) => {
    sizes[label]! += sign
    for (let d = 0; d < dimension; d++) sums[label * dimension + d]! += sign * values[row * dimension + d]!
  }
  for (let row = 0; row < rows; row++) add(row, labels[row]!, 1)
  const empty = [...sizes.keys()].filter((label) => sizes[label] === 0)
  if (empty.length > 0) {
    const distances = distancesTo(points, centroids, labels)
    const farthest = [...distances.keys()].sort((a, b) => distances[b]! - distances[a]! || a - b)
    let next = 0
    for (const label of empty) {
      while (sizes[labels[farthest[next]!]!] === 1) next++
      const row = farthest[next++]!
      add(row, labels[row]!, -1)
      add(row, label, 1)
    }
  }
  return Float32Array.from(sums, (sum, i) => sum / Math.max(1, sizes[Math.floor(i / dimension)]!))
}

/**
 * k-means++ seeds (Arthur & Vassilvitskii, 2007), of each draw the best of 2 + ln(classes) candidates, as scikit-learn:
 * centroids [classes × dimension].
 */
export const kmeansPlusPlus = Effect.fn("kmeansPlusPlus")(function* (
  tf: TensorFlow,
  points: Points,
  classes: number,
  seed: number
) {
  const { values, rows, dimension } = points
  const draw = random(seed, "kmeans++")
  const x = yield* freed(tf, () => tf.tensor2d(values, [rows, dimension]))
  const norms = yield* freed(tf, () => squaredNorms(tf, x))
  /** Squared distances [candidates, rows] of some rows to all. */
  const distances = (candidates: ReadonlyArray<number>) =>
    valuesOf(tf, () => {
      const chosen = tf.gather(x, tf.tensor1d([...candidates], "int32"))
      const product = tf.matMul(chosen, x, false, true)
      const squared = tf.add(tf.sub(squaredNorms(tf, chosen), tf.mul(2, product)), tf.transpose(norms))
      return tf.maximum(squared, 0)
    }) as Float32Array
  const trials = 2 + Math.floor(Math.log(classes))
  const seeds = [draw.int(rows)]
  let nearest: Float32Array = distances(seeds)
  nearest[seeds[0]!] = 0
  while (seeds.length < classes) {
    const cumulative = new Float64Array(rows)
    let total = 0
    for (let row = 0; row < rows; row++) cumulative[row] = total += nearest[row]!
    const candidates = Array.from({ length: trials }, () => {
      const at = draw.uniform(0, total)
      let [low, high] = [0, rows - 1]
      while (low < high) {
        const middle = (low + high) >> 1
        if (cumulative[middle]! > at) high = middle
        else low = middle + 1
      }
      return low
    })
    const found = distances(candidates)
    let best = { potential: Number.POSITIVE_INFINITY, nearest, row: candidates[0]! }
    for (const [index, row] of candidates.entries()) {
      const reached = new Float32Array(rows)
      let potential = 0
      for (let i = 0; i < rows; i++) potential += reached[i] = Math.min(nearest[i]!, found[index * rows + i]!)
      if (potential < best.potential) best = { potential, nearest: reached, row }
    }
    nearest = best.nearest
    nearest[best.row] = 0
    seeds.push(best.row)
    if (seeds.length % 16 === 0) yield* Effect.yieldNow
  }
  const centroids = new Float32Array(classes * dimension)
  for (const [label, row] of seeds.entries())
    centroids.set(values.subarray(row * dimension, (row + 1) * dimension), label * dimension)
  return centroids
}, Effect.scoped)

/**
 * Lloyd's iterations from given centroids. One iteration assigns, then recomputes the centroids; it stops when the labels
 * equal those of the iteration before (which counts), or by the tolerance, after which labels are assigned once more.
 */
export const kmeans = Effect.fn("kmeans")(function* (
  tf: TensorFlow,
  points: Points,
  initial: Float32Array,
  { classes, maxIterations, tolerance }: KMeansOptions
) {
  const { values, rows, dimension } = points
  const threshold = tolerance * meanVariance(points)
  const blocks = yield* Effect.forEach(Array(Math.ceil(rows / blockRows)).keys(), (i) => {
    const part = values.subarray(i * blockRows * dimension, (i + 1) * blockRows * dimension)
    return freed(tf, () => tf.tensor2d(part, [part.length / dimension, dimension]))
  })
  let centroids = initial
  let labels = new Int32Array(rows).fill(-1)
  let iterations = 0
  let settled = false
  while (iterations < maxIterations && !settled) {
    iterations++
    const assigned: Int32Array<ArrayBuffer> = yield* assign(tf, blocks, points, centroids)
    const moved = means(points, assigned, classes, centroids)
    const unchanged = assigned.every((label, row) => label === labels[row])
    const shift = moved.reduce((sum, value, i) => sum + (value - centroids[i]!) ** 2, 0)
    labels = assigned
    centroids = moved
    if (unchanged) settled = true
    else if (shift <= threshold || iterations === maxIterations) {
      labels = yield* assign(tf, blocks, points, centroids)
      settled = true
    }
  }
  const sizes = new Int32Array(classes)
  for (const label of labels) sizes[label]!++
  const inertia = distancesTo(points, centroids, labels).reduce((a, b) => a + b, 0)
  return { labels, sizes, centroids, inertia, iterations } satisfies Clustering
}, Effect.scoped)
