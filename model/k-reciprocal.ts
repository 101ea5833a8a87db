/**
 * k-reciprocal encoding (Zhong et al., CVPR 2017), row by row: the weights of each point's k-reciprocal neighbours, their
 * average over the nearest points, and the Jaccard distances of the points that share a neighbour. Each
 * function works on rows from … to of typed arrays alone, so that worker threads can share them; what a row becomes does
 * not depend on which rows are worked on together. Weights and Jaccard distances are float32, as the reference holds them;
 * distances of points and all sums are float64.
 */
import { Distances, type NormedPoints, type RankLists } from "#model/rank-lists.ts"
import { PartWriter, type SparsePart, type SparseRows } from "#model/sparse-rows.ts"

/** How neighbours become weights: OpenUnReID's `compute_jaccard_distance`, or the original MMT code and Zhong et al. */
export type Encoding = "openunreid" | "official"

export interface EncodingSettings {
  /** Neighbours of which the reciprocal ones are taken. */
  readonly k1: number
  /** Nearest points over which the weights are averaged, the point itself among them. */
  readonly k2: number
  readonly encoding: Encoding
}

/** Whether the lists are as long as the mean takes them: true, or what is wrong. */
export const consistentDepths = ({ k1, k2 }: Pick<EncodingSettings, "k1" | "k2">) =>
  k2 <= k1 || `k2 is ${k2}, expected at most k1, which is ${k1}`

/** Entries of a rank list: OpenUnReID cuts it to k1 with the point itself, the original to k1 others. */
export const rankLength = ({ k1, encoding }: EncodingSettings) => (encoding === "openunreid" ? k1 : k1 + 1)

/** A half rounded to the even neighbour, as NumPy rounds it. */
const roundedHalf = (k: number) => (k % 4 === 1 ? (k - 1) / 2 : Math.ceil(k / 2))

/** Those of the first `depth` entries of the row's list in whose first `depth` entries the row is. */
const reciprocal = ({ length, indices }: RankLists, row: number, depth: number, into: Int32Array): number => {
  let size = 0
  for (let at = row * length; at < row * length + depth; at++) {
    const other = indices[at]!
    const end = other * length + depth
    for (let back = other * length; back < end; back++)
      if (indices[back] === row) {
        into[size++] = other
        break
      }
  }
  return size
}

/** Reciprocal neighbours within half of k1, of any row; kept, since each is asked for by its neighbours. */
const halfNeighbours = (lists: RankLists, rows: number, depth: number) => {
  const sizes = new Int32Array(rows).fill(-1)
  const members = new Int32Array(rows * depth)
  return (row: number): Int32Array => {
    const own = members.subarray(row * depth, (row + 1) * depth)
    if (sizes[row]! < 0) sizes[row] = reciprocal(lists, row, depth, own)
    return own.subarray(0, sizes[row])
  }
}

/**
 * V: of each row its k-reciprocal neighbours, with those of a neighbour within half of k1 where more than two thirds of them
 * are the row's own too, and their weights e^(−d²/scale), which sum up to 1.
 */
export const encodeRows = (
  points: NormedPoints,
  lists: RankLists,
  { k1 }: Pick<EncodingSettings, "k1">,
  from: number,
  to: number
): SparsePart => {
  const { rows } = points
  const { length } = lists
  const halfDepth = Math.min(length, roundedHalf(k1) + 1)
  const half = halfNeighbours(lists, rows, halfDepth)
  const distances = new Distances(points)
  const own = new Int32Array(length)
  const members = new Int32Array(length * (halfDepth + 1))
  const weights = new Float32Array(members.length)
  // Rows that are marked: as a member, as one of the row's own reciprocal neighbours, as one whose distance is known.
  const member = new Int32Array(rows).fill(-1)
  const mutual = new Int32Array(rows).fill(-1)
  const known = new Int32Array(rows).fill(-1)
  const distance = new Float64Array(rows)
  const out = new PartWriter(to - from)
  for (let row = from; row < to; row++) {
    let size = 0
    const add = (other: number) => {
      if (member[other] === row) return
      member[other] = row
      members[size++] = other
    }
    for (let at = row * length; at < (row + 1) * length; at++) {
      known[lists.indices[at]!] = row
      distance[lists.indices[at]!] = lists.distances[at]!
    }
    const count = reciprocal(lists, row, length, own)
    for (let i = 0; i < count; i++) {
      mutual[own[i]!] = row
      add(own[i]!)
    }
    for (let i = 0; i < count; i++) {
      const further = half(own[i]!)
      let common = 0
      for (let f = 0; f < further.length; f++) if (mutual[further[f]!] === row) common++
      if (common > (2 / 3) * further.length) for (let f = 0; f < further.length; f++) add(further[f]!)
    }
    const sorted = members.subarray(0, size).sort()
    distances.from(row)
    let sum = 0
    for (let i = 0; i < size; i++) {
      const other = sorted[i]!
      const squared = known[other] === row ? distance[other]! : distances.to(other)
      weights[i] = Math.exp(-Math.fround(squared / lists.scales[row]!))
      sum += weights[i]!
    }
    for (let i = 0; i < size; i++) if (weights[i]! > 0) out.add(sorted[i]!, weights[i]! / Math.fround(sum))
    out.end()
  }
  return out.part()
}

/** Each row as the mean of the rows of the first k2 points of its rank list. */
export const averageRows = (
  { starts, columns, values }: SparseRows,
  lists: RankLists,
  { k2 }: Pick<EncodingSettings, "k2">,
  from: number,
  to: number
): SparsePart => {
  const sums = new Float64Array(starts.length - 1)
  const touched = new Int32Array(starts.length - 1)
  const depth = Math.min(k2, lists.length)
  const out = new PartWriter(to - from)
  for (let row = from; row < to; row++) {
    let size = 0
    for (let i = 0; i < depth; i++) {
      const near = lists.indices[row * lists.length + i]!
      for (let at = starts[near]!; at < starts[near + 1]!; at++) {
        const column = columns[at]!
        if (sums[column] === 0) touched[size++] = column
        sums[column]! += values[at]!
      }
    }
    const sorted = touched.subarray(0, size).sort()
    for (let i = 0; i < size; i++) {
      out.add(sorted[i]!, sums[sorted[i]!]! / depth)
      sums[sorted[i]!] = 0
    }
    out.end()
  }
  return out.part()
}

/**
 * Jaccard distances of each row to later ones that share a neighbour with it and are no farther than `limit`: 1 − m/(2 − m),
 * m the sum of the smaller ones of two weights. All that are missing have distance 1. `inverse` is the transpose of the rows.
 */
export const jaccardRows = (
  { starts, columns, values }: SparseRows,
  inverse: SparseRows,
  limit: number,
  from: number,
  to: number
): SparsePart => {
  const shared = new Float64Array(starts.length - 1)
  const touched = new Int32Array(starts.length - 1)
  // Of each neighbour, where the rows begin that are later than the present one.
  const later = inverse.starts.slice()
  const out = new PartWriter(to - from)
  for (let row = from; row < to; row++) {
    let size = 0
    for (let at = starts[row]!; at < starts[row + 1]!; at++) {
      const weight = values[at]!
      const column = columns[at]!
      const end = inverse.starts[column + 1]!
      let begin = later[column]!
      while (begin < end && inverse.columns[begin]! <= row) begin++
      later[column] = begin
      for (let i = begin; i < end; i++) {
        const other = inverse.columns[i]!
        if (shared[other] === 0) touched[size++] = other
        shared[other]! += Math.min(weight, inverse.values[i]!)
      }
    }
    for (let i = 0; i < size; i++) {
      const other = touched[i]!
      const common = shared[other]!
      shared[other] = 0
      const distance = Math.fround(Math.max(0, 1 - common / (2 - common)))
      if (distance <= limit) out.add(other, distance)
    }
    out.end()
  }
  return out.part()
}
