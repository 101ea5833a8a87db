/** How two partitions of the same images agree: clusters with identities, or with the clusters of another epoch. */

export interface Agreement {
  /** Images that both partitions place; only these are counted. */
  readonly images: number
  /** Share of the images that lie in the class most frequent in their cluster; 1 where no cluster mixes classes. */
  readonly purity: number
  /** Mutual information over the arithmetic mean of both entropies, as scikit-learn's `normalized_mutual_info_score`. */
  readonly nmi: number
}

const entropy = (counts: Iterable<number>, total: number) => {
  let sum = 0
  for (const count of counts) sum -= (count / total) * Math.log(count / total)
  return sum
}

const counted = (counts: Map<number, number>, key: number) => counts.set(key, (counts.get(key) ?? 0) + 1)

/**
 * Purity of `clusters` by `classes`, and their normalised mutual information. Rows where either is negative (an
 * outlier, an unknown identity) are left out; undefined where no row is left.
 */
export const agreement = (clusters: Int32Array, classes: Int32Array): Agreement | undefined => {
  const joint = new Map<number, Map<number, number>>()
  const classSizes = new Map<number, number>()
  let images = 0
  for (const [row, cluster] of clusters.entries()) {
    const known = classes[row]!
    if (cluster < 0 || known < 0) continue
    images++
    counted(classSizes, known)
    const within = joint.get(cluster)
    if (within) counted(within, known)
    else joint.set(cluster, new Map([[known, 1]]))
  }
  if (images === 0) return undefined
  const within = [...joint.values()]
  const clusterSizes = within.map((counts) => counts.values().reduce((a, b) => a + b))
  const most = within.reduce((sum, counts) => sum + Math.max(...counts.values()), 0)
  const clusterEntropy = entropy(clusterSizes, images)
  const classEntropy = entropy(classSizes.values(), images)
  const jointEntropy = entropy(
    within.flatMap((counts) => [...counts.values()]),
    images
  )
  const mean = (clusterEntropy + classEntropy) / 2
  // Two partitions of one part each are the same.
  const nmi = mean === 0 ? 1 : Math.max(0, (clusterEntropy + classEntropy - jointEntropy) / mean)
  return { images, purity: most / images, nmi }
}
