/**
 * The reliability criterion of Ge et al., "Self-paced Contrastive Learning", NeurIPS 2020, § 3.3: which points stay in the
 * clusters of one radius, judged by those of a smaller and a larger one. Source: SpCL `examples/spcl_train_uda.py`.
 */
import { outlier, roundedToEven } from "#model/dbscan.ts"

export interface Reliable {
  /** Clusters in their old order, numbered anew; −1 of points that belong to none any more. */
  readonly labels: Int32Array
  /** The independence that a cluster needs. */
  readonly independence: number
}

const sizesOf = (labels: Int32Array): Int32Array => {
  const sizes = new Int32Array(labels.length)
  for (const label of labels) if (label !== outlier) sizes[label]!++
  return sizes
}

/** Of each point that is clustered: its cluster ∩ its cluster among the others / ∪. An outlier is a cluster of its own. */
const overlaps = (labels: Int32Array, others: Int32Array): Float64Array => {
  const rows = labels.length
  const common = new Map<number, number>()
  const key = (row: number) => labels[row]! * rows + others[row]!
  for (let row = 0; row < rows; row++)
    if (labels[row] !== outlier && others[row] !== outlier) common.set(key(row), (common.get(key(row)) ?? 0) + 1)
  const sizes = sizesOf(labels)
  const otherSizes = sizesOf(others)
  return Float64Array.from({ length: rows }, (_, row) => {
    if (labels[row] === outlier) return 0
    const size = sizes[labels[row]!]!
    if (others[row] === outlier) return 1 / size
    const both = common.get(key(row))!
    return both / (size + otherSizes[others[row]!]! - both)
  })
}

/** The highest value of each cluster's points. */
const highest = (labels: Int32Array, values: Float64Array): Float64Array => {
  const most = new Float64Array(labels.length)
  for (const [row, label] of labels.entries()) if (label !== outlier) most[label] = Math.max(most[label]!, values[row]!)
  return most
}

/** The independence that nine tenths of the clusters have. */
const usualIndependence = (labels: Int32Array, independence: Float64Array): number => {
  const sizes = sizesOf(labels)
  const sorted = independence
    .filter((_, cluster) => sizes[cluster]! > 1)
    .sort()
    .reverse()
  return sorted[Math.min(sorted.length - 1, roundedToEven(0.9 * sorted.length))] ?? 0
}

/** Numbers the clusters of at least two points anew, in their order; the others' points become outliers. */
const renumbered = (labels: Int32Array): Int32Array => {
  const sizes = sizesOf(labels)
  const numbers = new Int32Array(labels.length).fill(outlier)
  let clusters = 0
  for (let label = 0; label < labels.length; label++) if (sizes[label]! > 1) numbers[label] = clusters++
  return labels.map((label) => (label === outlier ? outlier : numbers[label]!))
}

/**
 * A cluster stays whose independence (its overlap with the clusters of the larger radius) is not below `independence`, which
 * without one given is what nine tenths of them have, as in the first epoch; of its points those stay whose overlap with the
 * clusters of the smaller radius is the cluster's highest.
 */
export const reliable = (labels: Int32Array, tight: Int32Array, loose: Int32Array, independence?: number): Reliable => {
  const independences = highest(labels, overlaps(labels, loose))
  const compactness = overlaps(labels, tight)
  const compactest = highest(labels, compactness)
  const needed = independence ?? usualIndependence(labels, independences)
  const kept = labels.map((label, row) =>
    label !== outlier && independences[label]! >= needed && compactness[row]! >= compactest[label]! ? label : outlier
  )
  return { labels: renumbered(kept), independence: needed }
}
