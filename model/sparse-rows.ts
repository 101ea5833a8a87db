/** Sparse matrices by rows, whole and in parts, in memory that threads can share. */

/** A sparse matrix by rows, columns ascending: those of row i lie in starts[i] … starts[i + 1]. */
export interface SparseRows {
  readonly starts: Int32Array
  readonly columns: Int32Array
  readonly values: Float32Array
}

/** Some rows of a sparse matrix. */
export interface SparsePart {
  readonly lengths: Int32Array
  readonly columns: Int32Array
  readonly values: Float32Array
}

/** Numbers of a length that is not known before. */
class Growing<A extends Int32Array | Float32Array> {
  length = 0
  #values: A
  readonly #make: (length: number) => A

  constructor(make: (length: number) => A) {
    this.#make = make
    this.#values = make(1024)
  }

  push(value: number): void {
    if (this.length === this.#values.length) {
      const larger = this.#make(2 * this.length)
      larger.set(this.#values)
      this.#values = larger
    }
    this.#values[this.length++] = value
  }

  whole(): A {
    return this.#values.slice(0, this.length) as A
  }
}

/** Rows of a sparse matrix as they come: first all entries of the first one, then `end`. */
export class PartWriter {
  readonly #lengths: Int32Array
  readonly #columns = new Growing((length) => new Int32Array(length))
  readonly #values = new Growing((length) => new Float32Array(length))
  #row = 0
  #start = 0

  constructor(rows: number) {
    this.#lengths = new Int32Array(rows)
  }

  add(column: number, value: number): void {
    this.#columns.push(column)
    this.#values.push(value)
  }

  end(): void {
    this.#lengths[this.#row++] = this.#columns.length - this.#start
    this.#start = this.#columns.length
  }

  part(): SparsePart {
    return { lengths: this.#lengths, columns: this.#columns.whole(), values: this.#values.whole() }
  }
}

/** The transpose of a sparse matrix of as many columns as rows. */
export const transposed = ({ starts, columns, values }: SparseRows): SparseRows => {
  const rows = starts.length - 1
  const transpose = emptyRows(rows, columns.length)
  for (let at = 0; at < columns.length; at++) transpose.starts[columns[at]! + 1]!++
  for (let row = 0; row < rows; row++) transpose.starts[row + 1]! += transpose.starts[row]!
  const next = transpose.starts.slice(0, rows)
  for (let row = 0; row < rows; row++)
    for (let at = starts[row]!; at < starts[row + 1]!; at++) {
      const to = next[columns[at]!]!++
      transpose.columns[to] = row
      transpose.values[to] = values[at]!
    }
  return transpose
}

/** A symmetric matrix from its entries above the diagonal. */
export const mirrored = (upper: SparseRows): SparseRows => {
  const lower = transposed(upper)
  const rows = upper.starts.length - 1
  const whole = emptyRows(rows, 2 * upper.columns.length)
  let to = 0
  for (let row = 0; row < rows; row++) {
    for (const { starts, columns, values } of [lower, upper])
      for (let at = starts[row]!; at < starts[row + 1]!; at++) {
        whole.columns[to] = columns[at]!
        whole.values[to++] = values[at]!
      }
    whole.starts[row + 1] = to
  }
  return whole
}

/** Room for so many rows and entries, in memory that threads can share. */
const emptyRows = (rows: number, entries: number): SparseRows => ({
  starts: new Int32Array(new SharedArrayBuffer(4 * (rows + 1))),
  columns: new Int32Array(new SharedArrayBuffer(4 * entries)),
  values: new Float32Array(new SharedArrayBuffer(4 * entries))
})

/** The whole of parts that follow one another. */
export const joined = (parts: ReadonlyArray<SparsePart>): SparseRows => {
  const sum = (of: (part: SparsePart) => number) => parts.reduce((total, part) => total + of(part), 0)
  const whole = emptyRows(
    sum(({ lengths }) => lengths.length),
    sum(({ columns }) => columns.length)
  )
  let [row, at] = [0, 0]
  for (const { lengths, columns, values } of parts) {
    whole.columns.set(columns, at)
    whole.values.set(values, at)
    at += columns.length
    for (const length of lengths) whole.starts[row + 1] = whole.starts[row++]! + length
  }
  return whole
}
