/** How much two clusterings of the same images differ. */

export interface Churn {
  /** Images that both label. */
  readonly images: number
  /** Normalised mutual information: 1 for the same clusters under other names, about 0 for unrelated ones. */
  readonly nmi: number
  /** Images whose two clusters are not matched. */
  readonly moved: number
}

const entropy = (sizes: Iterable<number>, total: number) => {
  let sum = 0
  for (const size of sizes) sum -= (size / total) * Math.log(size / total)
  return sum
}

const countsOf = (labels: ReadonlyArray<number>) => {
  const counts = new Map<number, number>()
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1)
  return counts
}

/** Images in both clusters, for each pair of clusters that share any. */
const overlapsOf = (a: ReadonlyArray<number>, b: ReadonlyArray<number>) => {
  const overlaps = new Map<string, { readonly a: number; readonly b: number; count: number }>()
  for (const [i, label] of a.entries()) {
    const key = `${label} ${b[i]}`
    const overlap = overlaps.get(key) ?? { a: label, b: b[i]!, count: 0 }
    overlap.count++
    overlaps.set(key, overlap)
  }
  return [...overlaps.values()]
}

/** Images in matched clusters: clusters are matched one to one, the largest overlap first; outliers only with outliers. */
const stayed = (overlaps: ReturnType<typeof overlapsOf>) => {
  const [takenA, takenB] = [new Set<number>(), new Set<number>()]
  let count = 0
  for (const overlap of [...overlaps].sort((x, y) => y.count - x.count || x.a - y.a || x.b - y.b)) {
    const isOutlier = overlap.a < 0 || overlap.b < 0
    if (isOutlier ? overlap.a !== overlap.b : takenA.has(overlap.a) || takenB.has(overlap.b)) continue
    takenA.add(overlap.a)
    takenB.add(overlap.b)
    count += overlap.count
  }
  return count
}

/**
 * Compares labels by image. NMI is divided by the mean of the two entropies, as scikit-learn's
 * `normalized_mutual_info_score`; outliers (−1) count as one cluster in it.
 */
export const labelChurn = (before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): Churn => {
  const shared = [...before.keys()].filter((image) => after.has(image))
  const [a, b] = [before, after].map((labels) => shared.map((image) => labels.get(image)!)) as [number[], number[]]
  const images = shared.length
  const overlaps = overlapsOf(a, b)
  const [sizesA, sizesB] = [countsOf(a), countsOf(b)]
  let mutual = 0
  for (const { a: one, b: other, count } of overlaps)
    mutual += (count / images) * Math.log((count * images) / (sizesA.get(one)! * sizesB.get(other)!))
  const mean = (entropy(sizesA.values(), images) + entropy(sizesB.values(), images)) / 2
  return { images, nmi: mean === 0 ? 1 : Math.max(0, mutual / mean), moved: images - stayed(overlaps) }
}
