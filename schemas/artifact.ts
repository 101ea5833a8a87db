/**
 * What an artifact is: a name, the pinned columns of its record batches and the metadata of its Arrow schema. Every
 * artifact of the pipeline has a module beside this one. Columns beyond the pinned ones pass through untouched.
 */
import { isUtf8 } from "node:buffer"
import { Schema as ArrowSchema, type Data, DataType, Field, makeData, RecordBatch, Struct, util } from "apache-arrow"
import { Result, Schema } from "effect"
import type { Column } from "./column.ts"

export type Columns = Readonly<Record<string, Column<any, any>>>

/** Whole columns of one record batch, by name. */
export type View<C extends Columns> = { readonly [K in keyof C]: C[K] extends Column<infer V, any> ? V : never }

/** One row of the artifact. */
export type Row<C extends Columns> = { readonly [K in keyof C]: C[K] extends Column<any, infer Cell> ? Cell : never }

export interface Artifact<Name extends string = string, C extends Columns = Columns, M = any> {
  readonly name: Name
  readonly columns: C
  readonly metadata: Schema.Codec<M, Readonly<Record<string, string>>>
  readonly row: Schema.Codec<Row<C>, Row<C>>
}

type Texts = Readonly<Record<string, string>>

/** Declares an artifact. The metadata's encoded side is text to text, as Arrow keeps it. */
export const artifact = <const Name extends string, C extends Columns, F extends Schema.Struct.Fields>(
  name: Name,
  columns: C,
  metadata: F
): Artifact<Name, C, Schema.Struct<F>["Type"]> => ({
  name,
  columns,
  metadata: Schema.Struct(metadata) as unknown as Schema.Codec<Schema.Struct<F>["Type"], Texts>,
  row: Schema.Struct(Object.fromEntries(Object.entries(columns).map(([key, column]) => [key, column.cell]))) as never
})

/** A batch does not have the columns that its port asks for. Says where, what was found and what was expected. */
export class ColumnError extends Schema.TaggedError<ColumnError>()("ColumnError", {
  artifact: Schema.String,
  source: Schema.String,
  column: Schema.String,
  found: Schema.String,
  expected: Schema.String
}) {
  override get message() {
    return `${this.source}: column "${this.column}" of ${this.artifact}: expected ${this.expected}, found ${this.found}`
  }
}

/** The metadata of an Arrow schema lacks a key, or holds a value that the artifact does not allow. */
export class MetadataError extends Schema.TaggedError<MetadataError>()("MetadataError", {
  artifact: Schema.String,
  source: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `${this.source}: metadata of ${this.artifact}: ${this.problem.replaceAll("\n", " ")}`
  }
}

/** A file that is no whole Arrow file or stream, is not there, or cannot be read. */
export class ArtifactUnreadable extends Schema.TaggedError<ArtifactUnreadable>()("ArtifactUnreadable", {
  artifact: Schema.String,
  source: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `${this.source}: cannot be read as ${this.artifact}: ${this.problem}`
  }
}

export type ArtifactError = ColumnError | MetadataError | ArtifactUnreadable

/** The first pinned column that is missing or mistyped in an Arrow schema, as an error; undefined where all is well. */
export const columnError = (port: Artifact, schema: ArrowSchema, source: string): ColumnError | undefined => {
  for (const [column, { accepts, expected }] of Object.entries(port.columns)) {
    const field = schema.fields.find((f) => f.name === column)
    const found = field === undefined ? `no such column (it has ${schema.names.join(", ")})` : String(field.type)
    if (field === undefined || !accepts(field.type))
      return new ColumnError({ artifact: port.name, source, column, expected, found })
  }
  return undefined
}

/** Nulls of a column, those within its lists and vectors among them. */
const nullsIn = (data: Data): number => data.nullCount + data.children.reduce((sum, child) => sum + nullsIn(child), 0)

/**
 * What is wrong with the cells of a column, if anything: texts and lists that are not within its bytes or of letters that
 * are none, and nulls that are not as many as it says.
 */
const cellsProblem = (data: Data): string | undefined => {
  const { length, nullCount, nullBitmap, valueOffsets: offsets } = data
  if (nullCount > 0 && length - util.popcnt_bit_range(nullBitmap, data.offset, data.offset + length) !== nullCount)
    return `nulls that are not the ${nullCount} that it is said to have`
  if (offsets !== undefined && length > 0 && (data.values !== undefined || data.children.length > 0)) {
    const end = data.children[0]?.length ?? data.values.length
    let before = 0
    for (let row = 0; row <= length; row++) {
      const offset = Number(offsets[row])
      if (offset < before || offset > end) return `a value in row ${Math.max(0, row - 1)} that is not within its bytes`
      before = offset
    }
    const isText = DataType.isUtf8(data.type) || DataType.isLargeUtf8(data.type)
    if (isText && !isUtf8(data.values.subarray(Number(offsets[0]), Number(offsets[length]))))
      return "texts that are no UTF-8"
  }
  return data.children.map(cellsProblem).find((problem) => problem !== undefined)
}

/** The first pinned column of a batch whose cells are damaged, or that holds a null where the artifact allows none. */
export const cellError = (port: Artifact, batch: RecordBatch, source: string): ColumnError | undefined => {
  for (const [column, { nullable, expected }] of Object.entries(port.columns)) {
    const data = batch.getChild(column)!.data[0]!
    const nulls = nullable ? 0 : nullsIn(data)
    const found = nulls > 0 ? `${nulls} nulls` : cellsProblem(data)
    if (found !== undefined) return new ColumnError({ artifact: port.name, source, column, expected, found })
  }
  return undefined
}

/** The metadata of a batch (its own, over its schema's) decoded by the artifact's metadata schema. */
export const metadataOf = <M>(
  port: Artifact<string, Columns, M>,
  batch: { readonly schema: ArrowSchema; readonly metadata?: ReadonlyMap<string, string> },
  source: string
): Result.Result<M, MetadataError> => {
  const texts = Object.fromEntries([...batch.schema.metadata, ...(batch.metadata ?? [])])
  const decoded = Schema.decodeUnknownResult(port.metadata, { errors: "all" })(texts)
  return Result.mapError(decoded, (error) => new MetadataError({ artifact: port.name, source, problem: error.message }))
}

/** The pinned columns of a batch that was checked against its artifact, each read when it is first asked for. */
export const viewOf = <C extends Columns>(port: Artifact<string, C, any>, batch: RecordBatch): View<C> => {
  const view = {}
  for (const [name, column] of Object.entries(port.columns)) {
    const read = () => {
      const value = column.read(batch.getChild(name)!.data[0]!)
      Object.defineProperty(view, name, { value, enumerable: true })
      return value
    }
    Object.defineProperty(view, name, { get: read, enumerable: true, configurable: true })
  }
  return view as View<C>
}

/** How many rows whole columns hold together: the length of the first column that is not flat. */
const rowsOf = (columns: Columns, view: Record<string, { readonly length: number }>): number => {
  const name = Object.keys(columns).find((key) => !columns[key]!.expected.startsWith("fixed_size"))!
  return view[name]!.length
}

/**
 * A record batch of an artifact from whole columns, `perBatch` metadata beside the schema's. Columns of `view` beyond
 * the pinned ones must be named in `more`, with their types.
 */
export const batchOf = <C extends Columns, M>(
  port: Artifact<string, C, M>,
  view: View<C>,
  metadata: M,
  more: { readonly columns?: Columns; readonly view?: Record<string, unknown>; readonly perBatch?: Texts } = {}
): RecordBatch => {
  const columns: Columns = { ...port.columns, ...more.columns }
  const views = { ...view, ...more.view } as Record<string, { readonly length: number }>
  const rows = rowsOf(port.columns, views)
  const children = Object.entries(columns).map(([name, column]) => column.write(views[name], rows))
  const fields = Object.entries(columns).map(([name, c], i) => new Field(name, children[i]!.type, c.nullable))
  const texts = Schema.encodeSync(port.metadata)(metadata)
  const schema = new ArrowSchema(fields, new Map(Object.entries(texts)))
  const data = makeData({ type: new Struct(fields), length: rows, nullCount: 0, children })
  return new RecordBatch(schema, data, new Map(Object.entries(more.perBatch ?? {})))
}

/** `output` with the columns of `input` that neither artifact pins: what a row-by-row stage must not lose. */
export const withExtraColumns = (
  output: RecordBatch,
  input: RecordBatch,
  inputPort: Artifact,
  outputPort: Artifact
): RecordBatch => {
  const pinned = (name: string) => Object.hasOwn(inputPort.columns, name) || Object.hasOwn(outputPort.columns, name)
  const extra = input.schema.fields.filter(({ name }) => !pinned(name))
  if (extra.length === 0) return output
  const fields = [...output.schema.fields, ...extra]
  const children = [...output.data.children, ...extra.map((f) => input.getChild(f.name)!.data[0]!)]
  const schema = new ArrowSchema(fields, output.schema.metadata)
  const data = makeData({ type: new Struct(fields), length: output.numRows, nullCount: 0, children })
  return new RecordBatch(schema, data, output.metadata)
}
