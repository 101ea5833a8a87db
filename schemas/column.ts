/**
 * The column types that artifacts are made of: for each its Arrow type, the typed array (or list) that a whole
 * column is seen as, and the Effect Schema of one cell.
 */
import {
  Bool,
  type Data,
  DataType,
  Field,
  FixedSizeBinary,
  FixedSizeList,
  Float32,
  Float64,
  Int8,
  Int32,
  LargeBinary,
  List,
  makeData,
  Utf8,
  Vector
} from "apache-arrow"
import { Schema } from "effect"

/** How one column of an artifact is checked, read and written. `View` is what the whole column of a batch is seen as. */
export interface Column<View, Cell> {
  /** The Arrow type as error texts name it. */
  readonly expected: string
  readonly nullable: boolean
  readonly accepts: (type: DataType) => boolean
  /** The column's values; fixed-size lists and binaries come flat, row after row. */
  readonly read: (data: Data) => View
  readonly write: (view: View, rows: number) => Data
  readonly cell: Schema.Codec<Cell, Cell>
}

type Numbers = Int8Array | Int32Array | Float32Array | Float64Array

const numeric = <A extends Numbers>(type: Int8 | Int32 | Float32 | Float64, cell: Schema.Codec<number, number>) =>
  ({
    expected: String(type).toLowerCase(),
    nullable: false,
    accepts: (found) => String(found) === String(type),
    read: (data) => data.values.subarray(0, data.length) as A,
    write: (view, rows) => makeData({ type: type as Float32, length: rows, nullCount: 0, data: view as Float32Array }),
    cell
  }) satisfies Column<A, number>

export const int8 = numeric<Int8Array>(new Int8(), Schema.Int)
export const int32 = numeric<Int32Array>(new Int32(), Schema.Int)
export const float32 = numeric<Float32Array>(new Float32(), Schema.Finite)
export const float64 = numeric<Float64Array>(new Float64(), Schema.Finite)

/** Float32 where a null stands for "not measured": NaN in the view. */
export const float32OrNull: Column<Float32Array, number | null> = {
  expected: "float32 (nullable)",
  nullable: true,
  accepts: float32.accepts,
  read: (data) => {
    const values = (data.values as Float32Array).slice(0, data.length)
    if (data.nullCount > 0)
      for (let row = 0; row < data.length; row++) if (!data.getValid(row)) values[row] = Number.NaN
    return values
  },
  write: (view, rows) => {
    const nullBitmap = new Uint8Array(Math.ceil(rows / 8))
    let nullCount = 0
    for (let row = 0; row < rows; row++) {
      if (Number.isNaN(view[row])) nullCount++
      else nullBitmap[row >> 3]! |= 1 << (row & 7)
    }
    const data = view.map((value) => (Number.isNaN(value) ? 0 : value))
    return makeData({ type: new Float32(), length: rows, nullCount, ...(nullCount > 0 ? { nullBitmap } : {}), data })
  },
  cell: Schema.NullOr(Schema.Finite)
}

export const bool: Column<ReadonlyArray<boolean>, boolean> = {
  expected: "bool",
  nullable: false,
  accepts: (type) => DataType.isBool(type),
  read: (data) => Array.from(new Vector([data]), Boolean),
  write: (view, rows) => {
    const bits = new Uint8Array(Math.ceil(rows / 8))
    for (let row = 0; row < rows; row++) if (view[row]) bits[row >> 3]! |= 1 << (row & 7)
    return makeData({ type: new Bool(), length: rows, nullCount: 0, data: bits })
  },
  cell: Schema.Boolean
}

const joined = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

export const utf8: Column<ReadonlyArray<string>, string> = {
  expected: "utf8",
  nullable: false,
  accepts: (type) => DataType.isUtf8(type),
  read: (data) => Array.from(new Vector([data]), String),
  write: (view, rows) => {
    const letters = view.reduce((sum, text) => sum + text.length, 0)
    const together = new TextEncoder().encode(view.join(""))
    // Of texts in ASCII, which nearly all are, a letter is a byte.
    const parts = together.length === letters ? view : view.map((text) => Buffer.from(text))
    const data = parts === view ? together : joined(parts as ReadonlyArray<Uint8Array>)
    const valueOffsets = new Int32Array(rows + 1)
    for (const [row, part] of parts.entries()) valueOffsets[row + 1] = valueOffsets[row]! + part.length
    return makeData({ type: new Utf8(), length: rows, nullCount: 0, valueOffsets, data })
  },
  cell: Schema.String
}

export const largeBinary: Column<ReadonlyArray<Uint8Array>, Uint8Array> = {
  expected: "large_binary",
  nullable: false,
  accepts: (type) => DataType.isLargeBinary(type),
  read: (data) => Array.from(new Vector([data]), (bytes) => bytes as Uint8Array),
  write: (view, rows) => {
    const valueOffsets = new BigInt64Array(rows + 1)
    for (const [row, part] of view.entries()) valueOffsets[row + 1] = valueOffsets[row]! + BigInt(part.length)
    return makeData({ type: new LargeBinary(), length: rows, nullCount: 0, valueOffsets, data: joined(view) })
  },
  cell: Schema.Uint8Array as unknown as Schema.Codec<Uint8Array, Uint8Array>
}

export const int32List: Column<ReadonlyArray<ReadonlyArray<number>>, ReadonlyArray<number>> = {
  expected: "list<int32>",
  nullable: false,
  accepts: (type) => DataType.isList(type) && int32.accepts(type.children[0]!.type),
  read: (data) => Array.from(new Vector([data]), (list) => Array.from(list as Iterable<number>)),
  write: (view, rows) => {
    const valueOffsets = new Int32Array(rows + 1)
    for (const [row, list] of view.entries()) valueOffsets[row + 1] = valueOffsets[row]! + list.length
    const values = Int32Array.from(view.flat())
    const child = makeData({ type: new Int32(), length: values.length, nullCount: 0, data: values })
    const type = new List(new Field("item", new Int32(), false))
    return makeData({ type, length: rows, nullCount: 0, valueOffsets, child })
  },
  cell: Schema.Array(Schema.Int)
}

/** FixedSizeList<float32>: one vector a row, of a width that the batch itself tells. The view is flat, rows × width. */
export const vector: Column<Float32Array, ReadonlyArray<number>> = {
  expected: "fixed_size_list<float32>",
  nullable: false,
  accepts: (type) => DataType.isFixedSizeList(type) && float32.accepts(type.children[0]!.type),
  read: (data) => data.children[0]!.values.subarray(0, data.length * width(data.type)) as Float32Array,
  write: (view, rows) => {
    const type = new FixedSizeList(rows === 0 ? 0 : view.length / rows, new Field("item", new Float32(), false))
    return makeData({ type, length: rows, nullCount: 0, child: float32.write(view, view.length) })
  },
  cell: Schema.Array(Schema.Finite)
}

/** FixedSizeBinary: as many bytes in each row. The view is flat, rows × width. */
export const fixedBytes: Column<Uint8Array, Uint8Array> = {
  expected: "fixed_size_binary",
  nullable: false,
  accepts: (type) => DataType.isFixedSizeBinary(type),
  read: (data) => data.values.subarray(0, data.length * width(data.type)) as Uint8Array,
  write: (view, rows) => {
    const type = new FixedSizeBinary(rows === 0 ? 0 : view.length / rows)
    return makeData({ type, length: rows, nullCount: 0, data: view })
  },
  cell: largeBinary.cell
}

/** How many values (of a vector) or bytes (of a fixed-size binary) a row of this column has. */
export const width = (type: DataType): number =>
  DataType.isFixedSizeList(type) ? type.listSize : DataType.isFixedSizeBinary(type) ? type.byteWidth : 1
