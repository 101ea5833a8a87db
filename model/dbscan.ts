/** DBSCAN (Ester et al., 1996) on a sparse graph of distances, and the original MMT code's rule for its radius. */
import { Schema } from "effect"
import type { Points } from "#model/distance-blocks.ts"
import { consistentDepths } from "#model/k-reciprocal.ts"
import type { SparseRows } from "#model/sparse-rows.ts"

const PositiveInt = Schema.Int.check(Schema.isGreaterThan(0))

/** The radius: Jaccard distances lie between 0 and 1, and at 1 all images would be one cluster. */
const Radius = Schema.Finite.check(
  Schema.makeFilter((eps) => (eps > 0 && eps < 1) || "expected a number between 0 and 1, or auto")
)

/** Settings of DBSCAN on the k-reciprocal Jaccard distance. */
export const DbscanSettings = Schema.Struct({
  /** The radius; `auto` takes it from the first epoch's distances, as the original code. */
  eps: Schema.Union([Radius, Schema.Literal("auto")]),
  /** Images within the radius of a core point, itself among them. */
  minSamples: PositiveInt,
  /** Neighbours of which the k-reciprocal ones are taken. */
  k1: PositiveInt,
  /** Nearest images over which the neighbours' weights are averaged. */
  k2: PositiveInt,
  /** How neighbours are listed and weighted: as OpenUnReID does, or the original code. */
  encoding: Schema.Literals(["openunreid", "official"]),
  /** Above 0, clusters must prove reliable at eps − gap and eps + gap, as in SpCL, whose gap is 0.02. */
  epsGap: Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))
})
export type DbscanSettings = typeof DbscanSettings.Type

/** What is wrong with settings that are each right; true if nothing. */
export const consistent = ({ eps, epsGap, ...depths }: Pick<DbscanSettings, "eps" | "epsGap" | "k1" | "k2">) => {
  if (eps !== "auto" && (eps - epsGap <= 0 || eps + epsGap >= 1))
    return `epsGap is ${epsGap}, expected eps − epsGap above 0 and eps + epsGap below 1, with eps ${eps}`
  return consistentDepths(depths)
}

/** Label of a point that is in no cluster. */
export const outlier = -1

/**
 * Labels of all points. A point with at least `minSamples` points within `eps`, itself among them, is a core point; clusters
 * are numbered by their first core point, and a border point belongs to the first cluster that reaches it, as in
 * scikit-learn. Distances that the graph leaves out must be greater than `eps`.
 */
export const dbscan = ({ starts, columns, values }: SparseRows, eps: number, minSamples: number): Int32Array => {
  const rows = starts.length - 1
  // The distances are float32, and so is what they are compared with in NumPy.
  const radius = Math.fround(eps)
  const isCore = (row: number): boolean => {
    let near = 1
    for (let at = starts[row]!; at < starts[row + 1]!; at++) if (values[at]! <= radius) near++
    return near >= minSamples
  }
  const core = Uint8Array.from({ length: rows }, (_, row) => (isCore(row) ? 1 : 0))
  const labels = new Int32Array(rows).fill(outlier)
  const waiting: Array<number> = []
  let clusters = 0
  for (let first = 0; first < rows; first++) {
    if (labels[first] !== outlier || core[first] === 0) continue
    labels[first] = clusters
    waiting.push(first)
    for (let row = waiting.pop(); row !== undefined; row = waiting.pop()) {
      for (let at = starts[row]!; at < starts[row + 1]!; at++) {
        const other = columns[at]!
        if (values[at]! > radius || labels[other] !== outlier) continue
        labels[other] = clusters
        if (core[other] === 1) waiting.push(other)
      }
    }
    clusters++
  }
  return labels
}

/** ρ of the original code: the share of all pairs whose mean distance is the radius. */
const share = 1.6e-3

/** To the nearest integer, a half to the even one, as NumPy rounds. */
export const roundedToEven = (value: number): number => {
  const floor = Math.floor(value)
  const half = value - floor === 0.5
  return half ? floor + (floor % 2) : Math.round(value)
}

/**
 * The mean of the ρ·(number of pairs) smallest distances that are not 0 (`examples/mmt_train_dbscan.py` of the original
 * code). The graph must list all pairs nearer than 1: those left out are known to have distance 1, so that their number is
 * enough. NaN where there is no such pair.
 */
export const automaticEps = ({ starts, columns, values }: SparseRows): number => {
  const rows = starts.length - 1
  const listed = new Float32Array(values.length / 2)
  let [pairs, size] = [(rows * (rows - 1)) / 2, 0]
  for (let row = 0; row < rows; row++)
    for (let at = starts[row]!; at < starts[row + 1]!; at++)
      if (columns[at]! > row) {
        if (values[at] === 0) pairs--
        else listed[size++] = values[at]!
      }
  const count = roundedToEven(share * pairs)
  const smallest = listed.subarray(0, size).sort().subarray(0, count)
  let sum = count - smallest.length
  for (const distance of smallest) sum += distance
  return sum / count
}

/** Size and mean of each cluster; outliers are left out. */
export const clusterMeans = ({ values, dimension }: Points, labels: Int32Array) => {
  const clusters = labels.reduce((most, label) => Math.max(most, label), outlier) + 1
  const sizes = new Int32Array(clusters)
  const sums = new Float64Array(clusters * dimension)
  for (const [row, label] of labels.entries()) {
    if (label === outlier) continue
    sizes[label]!++
    for (let d = 0, from = row * dimension, to = label * dimension; d < dimension; d++)
      sums[to + d]! += values[from + d]!
  }
  const centroids = new Float32Array(sums.length)
  for (const [label, size] of sizes.entries())
    for (let at = label * dimension; at < (label + 1) * dimension; at++) centroids[at] = sums[at]! / size
  return { sizes, centroids }
}
