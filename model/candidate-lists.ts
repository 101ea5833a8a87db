/** The nearest points that are found so far for each of many points, as the search goes from block to block. */

/** Of the rows of a block, points of another block: the nearest first, and the farthest where it is asked for. */
export interface Found {
  /** Points a row. */
  readonly count: number
  /** Row-major, rows × count: −‖x − y‖²/2, and which row of the other block it is. */
  readonly values: Float32Array
  readonly indices: Int32Array
  readonly least: Float32Array | undefined
  readonly farthest: Int32Array | undefined
}

export class CandidateLists {
  /** Points a row. */
  readonly count: number
  /** Row-major, rows × count, nearest first: the point itself among them, as a rule. */
  readonly indices: Int32Array
  /** Of each row the point farthest from it, where it is asked for. */
  readonly farthest: Int32Array | undefined
  readonly #rows: number
  readonly #values: Float32Array
  readonly #least: Float32Array

  /** `count` is at most the number of rows. */
  constructor(rows: number, count: number, withFarthest: boolean) {
    this.count = count
    this.indices = new Int32Array(new SharedArrayBuffer(rows * count * 4))
    this.farthest = withFarthest ? new Int32Array(rows) : undefined
    this.#rows = rows
    this.#values = new Float32Array(rows * count).fill(Number.NEGATIVE_INFINITY)
    this.#least = new Float32Array(withFarthest ? rows : 0).fill(Number.POSITIVE_INFINITY)
  }

  /** Of rows from `start` on the value that a further candidate must be above; rows after the last take none. */
  floors(start: number, rows: number): Float32Array {
    return Float32Array.from({ length: rows }, (_, row) =>
      start + row < this.#rows ? this.#values[(start + row + 1) * this.count - 1]! : Number.POSITIVE_INFINITY
    )
  }

  /** Takes what was found for the rows from `start` on, as many as there are, among the points from `first` on. */
  add(start: number, first: number, found: Found): void {
    const rows = Math.min(this.#rows - start, found.values.length / found.count)
    for (let row = 0; row < rows; row++) {
      this.#merge(start + row, first, found, row * found.count)
      const least = found.least?.[row]
      if (least === undefined || least >= this.#least[start + row]!) continue
      this.#least[start + row] = least
      this.farthest![start + row] = first + found.farthest![row]!
    }
  }

  /** Two sorted lists become one; of equal ones that stays first which was there before. */
  #merge(row: number, first: number, found: Found, from: number): void {
    const { count } = this
    const start = row * count
    if (found.values[from]! <= this.#values[start + count - 1]!) return
    const values = this.#values.slice(start, start + count)
    const indices = this.indices.slice(start, start + count)
    let [before, next] = [0, from]
    const end = from + found.count
    for (let at = start; at < start + count; at++) {
      const isNext = next < end && found.values[next]! > values[before]!
      this.#values[at] = isNext ? found.values[next]! : values[before]!
      this.indices[at] = isNext ? first + found.indices[next++]! : indices[before++]!
    }
  }
}
