/** How alike two clusterings of the same images are, whatever numbers their clusters have. */

/** What changed from one clustering to another. */
export interface ClusterAgreement {
  /** Images that are not in the cluster to which most images of their earlier cluster came. */
  readonly moved: number
  /** Normalised mutual information, 1 where the clusterings are the same; as scikit-learn's, by the mean of both entropies. */
  readonly nmi: number
}

const countsOf = <K>(keys: Iterable<K>): Map<K, number> => {
  const counts = new Map<K, number>()
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1)
  return counts
}

const entropy = (counts: Iterable<number>, total: number) => {
  let sum = 0
  for (const count of counts) sum -= (count / total) * Math.log(count / total)
  return sum
}

/** Compares the labels of the same images, row by row. Outliers (−1) are taken as a cluster like any other. */
export const clusterAgreement = (before: ArrayLike<number>, after: ArrayLike<number>): ClusterAgreement => {
  const total = before.length
  // A cell of the contingency table by both labels.
  const pairs = countsOf(Array.from(before, (label, row) => `${label} ${after[row]}`))
  const largest = new Map<string, number>()
  for (const [pair, count] of pairs) {
    const from = pair.slice(0, pair.indexOf(" "))
    largest.set(from, Math.max(count, largest.get(from) ?? 0))
  }
  const stayed = [...largest.values()].reduce((sum, count) => sum + count, 0)
  const [h, g] = [before, after].map((labels) => entropy(countsOf(Array.from(labels)).values(), total)) as [
    number,
    number
  ]
  const mutual = h + g - entropy(pairs.values(), total)
  return { moved: total - stayed, nmi: h + g === 0 ? 1 : Math.min(1, Math.max(0, (2 * mutual) / (h + g))) }
}
