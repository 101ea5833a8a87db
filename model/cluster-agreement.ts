/** How alike two partitions of the same images are: two clusterings, or a clustering and the identities. */

/** Normalised mutual information is over the arithmetic mean of both entropies, as scikit-learn's `normalized_mutual_info_score`. */
interface Agreement {
  /** Images that were compared. */
  readonly images: number
  /** 1 where the partitions are the same under any names, about 0 where they are unrelated. */
  readonly nmi: number
}

/** Between two clusterings. */
export interface ClusterAgreement extends Agreement {
  /** Images whose two clusters are not matched. */
  readonly moved: number
}

/** Of a clustering with the identities. */
export interface IdentityAgreement extends Agreement {
  /** Share of the images that show the identity most frequent in their cluster; 1 where no cluster mixes identities. */
  readonly purity: number
}

interface Overlap {
  readonly a: number
  readonly b: number
  readonly count: number
}

/** The images in both parts, for each pair of parts that share any: the cells of the contingency table that are not 0. */
const overlapsOf = (a: ReadonlyArray<number>, b: ReadonlyArray<number>): ReadonlyArray<Overlap> => {
  const rows = new Map<number, Map<number, number>>()
  for (const [image, part] of a.entries()) {
    const row = rows.get(part) ?? new Map<number, number>()
    rows.set(part, row.set(b[image]!, (row.get(b[image]!) ?? 0) + 1))
  }
  return [...rows].flatMap(([part, row]) => [...row].map(([other, count]) => ({ a: part, b: other, count })))
}

const sizesOf = (overlaps: ReadonlyArray<Overlap>, side: "a" | "b") => {
  const sizes = new Map<number, number>()
  for (const overlap of overlaps) sizes.set(overlap[side], (sizes.get(overlap[side]) ?? 0) + overlap.count)
  return sizes
}

const entropy = (counts: Iterable<number>, total: number) => {
  let sum = 0
  for (const count of counts) sum -= (count / total) * Math.log(count / total)
  return sum
}

const normalisedInformation = (overlaps: ReadonlyArray<Overlap>, images: number) => {
  const [a, b] = [sizesOf(overlaps, "a"), sizesOf(overlaps, "b")].map((sizes) => entropy(sizes.values(), images))
  const joint = entropy(
    overlaps.map(({ count }) => count),
    images
  )
  const mean = (a! + b!) / 2
  // Two partitions of one part each are the same.
  return mean === 0 ? 1 : Math.min(1, Math.max(0, (a! + b! - joint) / mean))
}

const isOutlier = (label: number) => label < 0

/** Images in matched clusters. */
const stayed = (overlaps: ReadonlyArray<Overlap>) => {
  const [takenA, takenB] = [new Set<number>(), new Set<number>()]
  let count = 0
  for (const { a, b, count: own } of overlaps.toSorted((x, y) => y.count - x.count || x.a - y.a || x.b - y.b)) {
    const alone = isOutlier(a) || isOutlier(b)
    if (alone ? a !== b : takenA.has(a) || takenB.has(b)) continue
    takenA.add(a)
    takenB.add(b)
    count += own
  }
  return count
}

/**
 * Compares two clusterings, labels by image, over the images that both label; undefined where there is none. Clusters
 * are matched one to one, the largest overlap first, and an image has moved when its two clusters are not matched.
 *
 * Outliers (−1) are counted: in NMI as one cluster like any other; in the matching they go with outliers alone, so that an image
 * that became an outlier, or was one, has moved, and one that stayed an outlier has not.
 */
export const clusterAgreement = (
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>
): ClusterAgreement | undefined => {
  const shared = [...before.keys()].filter((image) => after.has(image))
  if (shared.length === 0) return undefined
  const labels = (of: ReadonlyMap<string, number>) => shared.map((image) => of.get(image)!)
  const overlaps = overlapsOf(labels(before), labels(after))
  const images = shared.length
  return { images, nmi: normalisedInformation(overlaps, images), moved: images - stayed(overlaps) }
}

/**
 * Compares a clustering with the identities (above 0), both by image; undefined where no image has both.
 *
 * Outliers (−1) are left out, as are images whose identity is not known, distractors (0) among them: purity and NMI are
 * of the images that the epoch trains on. A clustering can thus be pure because it left most images out.
 */
export const identityAgreement = (
  labels: ReadonlyMap<string, number>,
  identities: ReadonlyMap<string, number>
): IdentityAgreement | undefined => {
  const known = [...labels].filter(([image, label]) => !isOutlier(label) && (identities.get(image) ?? -1) > 0)
  if (known.length === 0) return undefined
  const overlaps = overlapsOf(
    known.map(([, label]) => label),
    known.map(([image]) => identities.get(image)!)
  )
  const largest = new Map<number, number>()
  for (const { a, count } of overlaps) largest.set(a, Math.max(count, largest.get(a) ?? 0))
  const pure = largest.values().reduce((sum, count) => sum + count, 0)
  return { images: known.length, purity: pure / known.length, nmi: normalisedInformation(overlaps, known.length) }
}
