/** k-means: k-means++ seeds and Lloyd's iterations, with scikit-learn's stopping rules. Distances are computed on the engine. */
import { Effect } from "effect"
import { random } from "#data/random.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"
import { nearestAmong, type Points, squaredDistancesTo } from "#model/distance-blocks.ts"

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
  const sums = new Float64Array(dimension)
  const squares = new Float64Array(dimension)
  for (let row = 0; row < rows; row++)
    for (let d = 0, at = row * dimension; d < dimension; d++, at++) {
      const value = values[at]!
      sums[d]! += value
      squares[d]! += value * value
    }
  let total = 0
  for (let d = 0; d < dimension; d++) total += squares[d]! / rows - (sums[d]! / rows) ** 2
  return total / dimension
}

const distancesTo = ({ values, rows, dimension }: Points, centroids: Float32Array, labels: Int32Array): Float64Array =>
  Float64Array.from({ length: rows }, (_, row) => squaredDistance(values, row, centroids, labels[row]!, dimension))

/** Sums of the clusters' points. Those of clusters that neither lost nor won a point are kept between iterations. */
class ClusterSums {
  readonly #points: Points
  readonly #sums: Float64Array
  readonly #sizes: Int32Array
  readonly #stale: Uint8Array
  #labels: Int32Array

  constructor(points: Points, classes: number) {
    this.#points = points
    this.#sums = new Float64Array(classes * points.dimension)
    this.#sizes = new Int32Array(classes)
    this.#stale = new Uint8Array(classes).fill(1)
    this.#labels = new Int32Array(points.rows)
  }

  #add(row: number, label: number, sign: number): void {
    const { values, dimension } = this.#points
    const sums = this.#sums
    this.#sizes[label]! += sign
    for (let d = 0, from = row * dimension, to = label * dimension; d < dimension; d++)
      sums[to + d]! += sign * values[from + d]!
  }

  /** Takes these labels. */
  assign(labels: Int32Array): void {
    const stale = this.#stale
    const before = this.#labels
    for (let row = 0; row < labels.length; row++)
      if (labels[row] !== before[row]) stale[labels[row]!] = stale[before[row]!] = 1
    const { dimension } = this.#points
    for (const [label, isStale] of stale.entries())
      if (isStale) {
        this.#sizes[label] = 0
        this.#sums.fill(0, label * dimension, (label + 1) * dimension)
      }
    for (let row = 0; row < labels.length; row++) if (stale[labels[row]!]) this.#add(row, labels[row]!, 1)
    stale.fill(0)
    this.#labels = labels
  }

  /**
   * An empty cluster takes the point that lies farthest from its own centroid, which leaves its old cluster, as
   * scikit-learn relocates them; but the only point of a cluster stays there.
   */
  fillEmpty(centroids: Float32Array): void {
    const empty = [...this.#sizes.keys()].filter((label) => this.#sizes[label] === 0)
    if (empty.length === 0) return
    const distances = distancesTo(this.#points, centroids, this.#labels)
    const farthest = [...distances.keys()].sort((a, b) => distances[b]! - distances[a]! || a - b)
    let next = 0
    for (const label of empty) {
      while (this.#sizes[this.#labels[farthest[next]!]!] === 1) next++
      const row = farthest[next++]!
      const left = this.#labels[row]!
      this.#add(row, left, -1)
      this.#add(row, label, 1)
      this.#stale[left] = this.#stale[label] = 1
    }
  }

  /** Row-major, classes × dimension. */
  means(): Float32Array {
    const { dimension } = this.#points
    const means = new Float32Array(this.#sums.length)
    for (const [label, size] of this.#sizes.entries())
      for (let at = label * dimension; at < (label + 1) * dimension; at++)
        means[at] = this.#sums[at]! / Math.max(1, size)
    return means
  }
}

/** Sum of the squared differences. */
const squaredShift = (from: Float32Array, to: Float32Array): number => squaredDistance(from, 0, to, 0, from.length)

/** Copies of these rows. */
const rowsOf = ({ values, dimension }: Points, rows: ReadonlyArray<number>): Float32Array => {
  const copies = new Float32Array(rows.length * dimension)
  for (const [i, row] of rows.entries())
    copies.set(values.subarray(row * dimension, (row + 1) * dimension), i * dimension)
  return copies
}

/** Where ascending values first exceed `bound`; the last place if they never do. */
const firstAbove = (ascending: Float64Array, bound: number): number => {
  let [low, high] = [0, ascending.length - 1]
  while (low < high) {
    const middle = (low + high) >> 1
    if (ascending[middle]! > bound) high = middle
    else low = middle + 1
  }
  return low
}

/** For each candidate the sum over the rows of the distance to the nearest seed, were it one: `found` is [rows, candidates]. */
const potentials = (nearest: Float32Array, found: Float32Array, candidates: number): Float64Array => {
  const sums = new Float64Array(candidates)
  for (let row = 0, at = 0; row < nearest.length; row++) {
    const own = nearest[row]!
    for (let i = 0; i < candidates; i++, at++) sums[i]! += Math.min(own, found[at]!)
  }
  return sums
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
  const { rows } = points
  const draw = random(seed, "kmeans++")
  const trials = 2 + Math.floor(Math.log(classes))
  const squaredDistances = yield* squaredDistancesTo(tf, points, trials)
  /** Squared distances [rows, trials] of all rows to as many of them. */
  const distances = (candidates: ReadonlyArray<number>) => squaredDistances(rowsOf(points, candidates))
  const first = draw.int(rows)
  const seeds = [first]
  const nearest = distances(Array(trials).fill(first)).filter((_, at) => at % trials === 0)
  nearest[first] = 0
  const cumulative = new Float64Array(rows)
  while (seeds.length < classes) {
    let total = 0
    for (let row = 0; row < rows; row++) cumulative[row] = total += nearest[row]!
    const candidates = Array.from({ length: trials }, () => firstAbove(cumulative, draw.uniform(0, total)))
    const found = distances(candidates)
    const reached = potentials(nearest, found, trials)
    const best = reached.reduce((least, sum, i) => (sum < reached[least]! ? i : least), 0)
    for (let row = 0, at = best; row < rows; row++, at += trials) nearest[row] = Math.min(nearest[row]!, found[at]!)
    const row = candidates[best]!
    nearest[row] = 0
    seeds.push(row)
    if (seeds.length % 16 === 0) yield* Effect.yieldNow
  }
  return rowsOf(points, seeds)
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
  const threshold = tolerance * meanVariance(points)
  const nearest = yield* nearestAmong(tf, points, classes)
  const sums = new ClusterSums(points, classes)
  let centroids = initial
  let labels = new Int32Array(points.rows).fill(-1)
  let iterations = 0
  let settled = false
  while (iterations < maxIterations && !settled) {
    iterations++
    const assigned = nearest(centroids)
    sums.assign(assigned)
    sums.fillEmpty(centroids)
    const moved = sums.means()
    const unchanged = assigned.every((label, row) => label === labels[row])
    const shift = squaredShift(moved, centroids)
    labels = assigned
    centroids = moved
    if (unchanged) settled = true
    else if (shift <= threshold || iterations === maxIterations) {
      labels = nearest(centroids)
      settled = true
    }
    yield* Effect.yieldNow
  }
  const sizes = new Int32Array(classes)
  for (const label of labels) sizes[label]!++
  const inertia = distancesTo(points, centroids, labels).reduce((a, b) => a + b, 0)
  return { labels, sizes, centroids, inertia, iterations } satisfies Clustering
}, Effect.scoped)
