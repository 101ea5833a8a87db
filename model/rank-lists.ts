/** Rank lists: the nearest points of each of many points, by distances in float64. */
import type { Points } from "#model/distance-blocks.ts"

/** The nearest points of each point, itself first, by squared distance; of equal ones the first is nearer. */
export interface RankLists {
  /** Points a list. */
  readonly length: number
  /** Row-major, rows × length. */
  readonly indices: Int32Array
  /** Squared distances to them, in float64. */
  readonly distances: Float64Array
  /** Of each row what its squared distances are divided by in a weight: 1, or the largest of all. */
  readonly scales: Float64Array
}

/** Room for the lists of so many points, in memory that threads can share. */
export const emptyLists = (rows: number, length: number): RankLists => ({
  length,
  indices: new Int32Array(new SharedArrayBuffer(4 * rows * length)),
  distances: new Float64Array(new SharedArrayBuffer(8 * rows * length)),
  scales: new Float64Array(new SharedArrayBuffer(8 * rows))
})

/** Points with their squared norms, in float64. */
export interface NormedPoints extends Points {
  readonly norms: Float64Array
}

/** Four sums at a time: one alone waits for each of its additions. */
const dot = (own: Float64Array, values: Float32Array, start: number): number => {
  const length = own.length
  const whole = length - (length % 4)
  let [a, b, c, d] = [0, 0, 0, 0]
  for (let i = 0, at = start; i < whole; i += 4, at += 4) {
    a += own[i]! * values[at]!
    b += own[i + 1]! * values[at + 1]!
    c += own[i + 2]! * values[at + 2]!
    d += own[i + 3]! * values[at + 3]!
  }
  for (let i = whole; i < length; i++) a += own[i]! * values[start + i]!
  return a + b + (c + d)
}

/** Fills in the norms of rows. */
export const normRows = ({ values, dimension, norms }: NormedPoints, from: number, to: number): void => {
  for (let row = from; row < to; row++) {
    const own = new Float64Array(values.subarray(row * dimension, (row + 1) * dimension))
    norms[row] = dot(own, values, row * dimension)
  }
}

/** Squared distances in float64 from one point, which `from` chooses, to others. */
export class Distances {
  readonly #points: NormedPoints
  readonly #own: Float64Array
  #norm = 0

  constructor(points: NormedPoints) {
    this.#points = points
    this.#own = new Float64Array(points.dimension)
  }

  from(row: number): void {
    const { values, norms, dimension } = this.#points
    this.#own.set(values.subarray(row * dimension, (row + 1) * dimension))
    this.#norm = norms[row]!
  }

  to(row: number): number {
    const { values, norms, dimension } = this.#points
    return Math.max(0, this.#norm + norms[row]! - 2 * dot(this.#own, values, row * dimension))
  }
}

/**
 * Fills rows of the rank lists from candidates [rows × count], by distances in float64: how float32 rounds, which differs
 * between machines, decides no order. `farthest`, where it is given, has the points whose distances are the rows' scales.
 */
export const rankRows = (
  points: NormedPoints,
  candidates: { readonly count: number; readonly indices: Int32Array; readonly farthest: Int32Array | undefined },
  lists: RankLists,
  from: number,
  to: number
): void => {
  const distances = new Distances(points)
  const { length } = lists
  for (let row = from; row < to; row++) {
    distances.from(row)
    const indices = lists.indices.subarray(row * length, (row + 1) * length)
    const sorted = lists.distances.subarray(row * length, (row + 1) * length)
    indices[0] = row
    let size = 1
    for (let c = 0; c < candidates.count; c++) {
      const other = candidates.indices[row * candidates.count + c]!
      if (other === row) continue
      const distance = distances.to(other)
      let at = size
      while (at > 1 && (sorted[at - 1]! > distance || (sorted[at - 1]! === distance && indices[at - 1]! > other))) {
        if (at < length) {
          sorted[at] = sorted[at - 1]!
          indices[at] = indices[at - 1]!
        }
        at--
      }
      if (at < length) {
        sorted[at] = distance
        indices[at] = other
      }
      if (size < length) size++
    }
    lists.scales[row] = candidates.farthest ? distances.to(candidates.farthest[row]!) || 1 : 1
  }
}
