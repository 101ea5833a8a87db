/** What a query gave, as record batches of Arrow. */
import type { DuckDBDataChunk, DuckDBResult, DuckDBType, DuckDBValue } from "@duckdb/node-api"
import {
  Binary,
  Bool,
  type DataType,
  Field,
  FixedSizeList,
  Float32,
  Float64,
  Int8,
  Int16,
  Int32,
  Int64,
  List,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  Uint8,
  Uint16,
  Uint32,
  Uint64,
  Utf8,
  vectorFromArray
} from "apache-arrow"

/** Types by DuckDB's names; whole numbers of more than 64 bits become doubles, and what Arrow's library lacks becomes text. */
const arrowTypes: Readonly<Record<string, () => DataType>> = {
  BOOLEAN: () => new Bool(),
  TINYINT: () => new Int8(),
  SMALLINT: () => new Int16(),
  INTEGER: () => new Int32(),
  BIGINT: () => new Int64(),
  UTINYINT: () => new Uint8(),
  USMALLINT: () => new Uint16(),
  UINTEGER: () => new Uint32(),
  UBIGINT: () => new Uint64(),
  HUGEINT: () => new Float64(),
  UHUGEINT: () => new Float64(),
  FLOAT: () => new Float32(),
  DOUBLE: () => new Float64(),
  BLOB: () => new Binary()
}

interface Nested {
  readonly valueType?: DuckDBType
  readonly length?: number
}

const arrowType = (type: DuckDBType): DataType => {
  const name = String(type)
  const { valueType, length } = type as Nested
  if (name.startsWith("DECIMAL")) return new Float64()
  if (valueType && !name.startsWith("MAP")) {
    const item = new Field("item", arrowType(valueType), true)
    return length === undefined ? new List(item) : new FixedSizeList(length, item)
  }
  return (arrowTypes[name] ?? (() => new Utf8()))()
}

/** A value of DuckDB's as the Arrow type takes it. */
const plain = (value: DuckDBValue, type: DataType): unknown => {
  if (value === null) return null
  if (type instanceof Utf8) return String(value)
  if (type instanceof Float64) return Number(value)
  if (type instanceof Binary) return (value as unknown as { bytes: Uint8Array }).bytes
  if (type instanceof List || type instanceof FixedSizeList)
    return (value as unknown as { items: ReadonlyArray<DuckDBValue> }).items.map((item) =>
      plain(item, type.children[0]!.type)
    )
  return value
}

/** The schema of a result; columns of one name are told apart by numbers. */
export const resultSchema = (result: DuckDBResult): Schema => {
  const types = result.columnTypes()
  return new Schema(result.deduplicatedColumnNames().map((name, i) => new Field(name, arrowType(types[i]!), true)))
}

export const resultBatch = (schema: Schema, chunk: DuckDBDataChunk): RecordBatch => {
  const children = schema.fields.map(({ type }, i) => {
    const values = chunk.getColumnValues(i).map((value) => plain(value, type))
    return vectorFromArray(values, type).data[0]!
  })
  return new RecordBatch(
    schema,
    makeData({ type: new Struct(schema.fields), length: chunk.rowCount, nullCount: 0, children })
  )
}
