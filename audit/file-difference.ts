/** Two files of one artifact: in how many rows they differ, and the first value that does, by row and column. */
import { type Data, DataType, type RecordBatch, Vector } from "apache-arrow"
import { Effect, Stream } from "effect"
import { readBatches } from "#pipeline/arrow-file.ts"
import type { Artifact } from "#schemas/artifact.ts"
import { fixedBytes, vector } from "#schemas/column.ts"

export interface FirstDifference {
  /** Counted from 0. */
  readonly row: number
  /** What the row is of, where it has a name: an image, a tensor, a metric. */
  readonly of: string
  readonly column: string
  /** Which value of a row that has many. */
  readonly value?: number
  readonly was: string
  readonly now: string
}

export interface FileDifference {
  readonly rows: number
  readonly rowsThen: number
  /** Rows of both that differ. */
  readonly differing: number
  readonly first?: FirstDifference
  /** The largest difference of two numbers at the same place. */
  readonly largest?: { readonly column: string; readonly difference: number }
}

/** A column as the numbers of each row, or as one thing a row. */
type Cells =
  | { readonly values: ArrayLike<number>; readonly perRow: number }
  | { readonly get: (row: number) => unknown }

const cellsOf = (data: Data, dtypes: ReadonlyArray<unknown> | undefined): Cells => {
  if (DataType.isFixedSizeList(data.type) && vector.accepts(data.type))
    return { values: vector.read(data), perRow: data.type.listSize }
  if (DataType.isFixedSizeBinary(data.type)) return { values: fixedBytes.read(data), perRow: data.type.byteWidth }
  const rows = new Vector([data])
  return { get: (row) => numbers(rows.get(row), dtypes?.[row]) }
}

/** The values of a tensor; bytes of another type as bytes. */
const numbers = (cell: unknown, dtype: unknown): unknown =>
  cell instanceof Uint8Array && dtype === "float32" && cell.length % 4 === 0
    ? new Float32Array(Uint8Array.from(cell).buffer)
    : cell

const isMany = (value: unknown): value is ArrayLike<number> =>
  ArrayBuffer.isView(value) || value instanceof Vector || Array.isArray(value)

const rowOf = (cells: Cells, row: number): unknown => {
  if ("get" in cells) {
    const cell = cells.get(row)
    return cell instanceof Vector ? [...cell] : cell
  }
  const { values, perRow } = cells
  return (values as Float32Array).subarray(row * perRow, (row + 1) * perRow)
}

interface Place {
  readonly at?: number
  readonly was: unknown
  readonly now: unknown
}

/** The first place at which two cells differ, and the largest difference of their numbers. */
const compareCells = (was: unknown, now: unknown): { readonly place?: Place; readonly largest: number } => {
  if (!isMany(was) || !isMany(now)) {
    if (Object.is(was, now)) return { largest: 0 }
    const largest = typeof was === "number" && typeof now === "number" ? Math.abs(now - was) : 0
    return { place: { was, now }, largest }
  }
  let place: Place | undefined
  let largest = 0
  for (let at = 0; at < Math.max(was.length, now.length); at++) {
    if (Object.is(was[at], now[at])) continue
    place ??= { at, was: was[at], now: now[at] }
    largest = Math.max(largest, Math.abs(now[at]! - was[at]!) || 0)
  }
  return place ? { place, largest } : { largest }
}

const shown = (value: unknown) =>
  value === undefined ? "none" : typeof value === "number" ? String(value) : JSON.stringify(value)

const named = ["network", "image", "query", "name", "student", "iteration"]

const nameOf = (batch: RecordBatch, row: number) =>
  named.flatMap((column) => batch.getChild(column)?.get(row) ?? []).join(" ")

const columnsOf = (batch: RecordBatch) => {
  const dtypes = batch.getChild("dtype")?.toArray() as ReadonlyArray<unknown> | undefined
  return new Map(batch.schema.fields.map(({ name }) => [name, cellsOf(batch.getChild(name)!.data[0]!, dtypes)]))
}

/** What two batches at the same place of their files differ in; `add` is called for each row that does, in order. */
const compareBatches = (was: RecordBatch, now: RecordBatch, from: number, add: (first: FirstDifference) => void) => {
  const [before, after] = [columnsOf(was), columnsOf(now)]
  const largest = new Map<string, number>()
  for (let row = 0; row < Math.min(was.numRows, now.numRows); row++) {
    let first: FirstDifference | undefined
    for (const column of new Set([...before.keys(), ...after.keys()])) {
      const [a, b] = [before, after].map((columns) => columns.get(column))
      const compared = compareCells(a && rowOf(a, row), b && rowOf(b, row))
      if (compared.place === undefined) continue
      const { at, was: old, now: own } = compared.place
      largest.set(column, Math.max(largest.get(column) ?? 0, compared.largest))
      first ??= {
        ...{ row: from + row, of: nameOf(was, row), column, ...(at === undefined ? {} : { value: at }) },
        ...{ was: shown(old), now: shown(own) }
      }
    }
    if (first) add(first)
  }
  return largest
}

/** Compares two files row by row, one record batch of each in memory. Fails where one cannot be read as the artifact. */
export const fileDifference = (artifact: Artifact, was: string, now: string) =>
  Effect.gen(function* () {
    let [rows, rowsThen, differing] = [0, 0, 0]
    let first: FirstDifference | undefined
    const largest = new Map<string, number>()
    // The batches of a task's files end at the same rows; what one file has beyond the other is told by its rows.
    const both = Stream.zipWith(readBatches(artifact, was), readBatches(artifact, now), (a, b) => [a, b] as const)
    yield* Stream.runForEach(both, ([a, b]) =>
      Effect.sync(() => {
        const add = (found: FirstDifference) => {
          first ??= found
          differing++
        }
        for (const [column, difference] of compareBatches(a, b, rowsThen, add))
          largest.set(column, Math.max(largest.get(column) ?? 0, difference))
        rowsThen += a.numRows
        rows += b.numRows
      })
    )
    const [top] = [...largest].sort(([, a], [, b]) => b - a)
    return {
      ...{ rows, rowsThen, differing },
      ...(first ? { first } : {}),
      ...(top && top[1] > 0 ? { largest: { column: top[0], difference: top[1] } } : {})
    } satisfies FileDifference
  })
