/**
 * DuckDB over a run's artifacts: tables that read Arrow files as they are scanned, only those and only the columns that a
 * query takes. The database sees no file itself.
 */
import type { DuckDBConnection, DuckDBDataChunk, DuckDBType, DuckDBValue } from "@duckdb/node-api"
import type { RecordBatch } from "apache-arrow"
import { Effect, Schema } from "effect"
import { readColumns } from "#audit/arrow-columns.ts"
import { isWide, type RunTable, type TableColumn, type TableFile } from "#audit/sql-tables.ts"
import { readProblem } from "#pipeline/arrow-file.ts"

/** DuckDB refused a query, or a file that it scans cannot be read. */
export class QueryFailed extends Schema.TaggedError<QueryFailed>()("QueryFailed", { problem: Schema.String }) {
  override get message() {
    return this.problem
  }
}

type DuckDB = typeof import("@duckdb/node-api")

/** DuckDB's type of an Arrow column. */
const typeOf = (duckdb: DuckDB, type: string): DuckDBType => {
  const width = Number(/\[(\d+)\]/.exec(type)?.[1])
  if (type.startsWith("FixedSizeList")) return width ? duckdb.ARRAY(duckdb.FLOAT, width) : duckdb.LIST(duckdb.FLOAT)
  if (/Binary/.test(type)) return duckdb.BLOB
  if (type === "List<Int32>") return duckdb.LIST(duckdb.INTEGER)
  const plain = {
    Int8: duckdb.TINYINT,
    Int16: duckdb.SMALLINT,
    Int32: duckdb.INTEGER,
    Int64: duckdb.BIGINT,
    Float32: duckdb.FLOAT,
    Float64: duckdb.DOUBLE,
    Bool: duckdb.BOOLEAN
  }
  return plain[type as keyof typeof plain] ?? duckdb.VARCHAR
}

const duckValue = (duckdb: DuckDB, value: unknown): DuckDBValue => {
  if (value instanceof Uint8Array) return duckdb.blobValue(value)
  if (typeof value === "object" && value !== null) return duckdb.listValue(Array.from(value as Iterable<DuckDBValue>))
  return (value ?? null) as DuckDBValue
}

/** Where a scan stands: the file, its record batches, the row. */
interface Scan {
  readonly columns: ReadonlyArray<TableColumn>
  file: number
  batches: ReadonlyArray<RecordBatch>
  batch: number
  row: number
}

/** Bytes that a chunk of wide rows may take; and DuckDB's most rows of a chunk. */
const [chunkBytes, chunkRows] = [16 * 2 ** 20, 2048]

/** The rows that come next, as a batch and a range of it. */
const nextRows = (table: RunTable, scan: Scan) => {
  while (true) {
    const batch = scan.batches[scan.batch]
    if (batch === undefined) {
      const file = table.files[scan.file++]
      if (file === undefined) return undefined
      const asked = new Set(scan.columns.map(({ name }) => name))
      const unwanted = new Set(
        table.columns.filter((column) => isWide(column) && !asked.has(column.name)).map(({ name }) => name)
      )
      try {
        scan.batches = readColumns(file.file, unwanted)
      } catch (cause) {
        throw new Error(`${file.file}: ${readProblem(cause)}`)
      }
      scan.batch = scan.row = 0
    } else if (scan.row >= batch.numRows) {
      scan.batch++
      scan.row = 0
    } else {
      const widths = scan.columns.map(({ type }) => Number(/\[(\d+)\]/.exec(type)?.[1] ?? 8) * 4)
      const most = Math.max(1, Math.min(chunkRows, Math.floor(chunkBytes / Math.max(1, ...widths))))
      const rows = Math.min(most, batch.numRows - scan.row)
      const [start, file] = [scan.row, table.files[scan.file - 1]!]
      scan.row += rows
      return { batch, file, start, rows }
    }
  }
}

/** Fills one column of a chunk. Vectors of float32 are copied as a whole, everything else value by value. */
const fillColumn = (
  duckdb: DuckDB,
  chunk: DuckDBDataChunk,
  index: number,
  { name, type }: TableColumn,
  { batch, file, start, rows }: { batch: RecordBatch; file: TableFile; start: number; rows: number }
) => {
  const vector = chunk.getColumnVector(index)
  const column = batch.getChild(name)
  const width = Number(/^FixedSizeList\[(\d+)\]/.exec(type)?.[1])
  if (column && width) {
    const values = column.data[0]!.children[0]!.values as Float32Array
    const child = (vector as unknown as { childData: { items: Float32Array } }).childData
    child.items.set(values.subarray(start * width, (start + rows) * width))
  } else {
    const placed = column ? undefined : ((file.place as Record<string, string | number | null>)[name] ?? null)
    for (let row = 0; row < rows; row++)
      vector.setItem(row, column ? duckValue(duckdb, column.get(start + row)) : (placed as never))
  }
  vector.flush()
}

const register = (duckdb: DuckDB, connection: DuckDBConnection, table: RunTable) =>
  connection.registerTableFunction(
    duckdb.DuckDBTableFunction.create({
      name: `scan_${table.name}`,
      supportsProjectionPushdown: true,
      bindFunction: (bind) => {
        for (const { name, type } of table.columns) bind.addResultColumn(name, typeOf(duckdb, type))
        bind.setCardinality(
          table.files.reduce((sum, { rows }) => sum + rows, 0),
          true
        )
      },
      initFunction: (init) => {
        // One scan reads one file after the other.
        init.setMaxThreads(1)
        const columns = init.getColumnIndexes().flatMap((at) => table.columns[at] ?? [])
        init.setInitData({ columns, file: 0, batches: [], batch: 0, row: 0 } satisfies Scan)
      },
      mainFunction: (info, chunk) => {
        try {
          const scan = info.getInitData() as Scan
          const next = nextRows(table, scan)
          chunk.rowCount = next?.rows ?? 0
          if (next) for (const [index, column] of scan.columns.entries()) fillColumn(duckdb, chunk, index, column, next)
        } catch (cause) {
          chunk.rowCount = 0
          info.setError((cause as Error).message)
        }
      }
    })
  )

const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`

/** Whether a table shows a column: a wide one only where it is wanted. */
export type Shows = (column: TableColumn) => boolean

const failed = (cause: unknown) => {
  const text = cause instanceof Error ? cause.message : String(cause)
  return new QueryFailed({ problem: text.trim() })
}

/** A promise of DuckDB's as an effect. */
export const asking = <A>(ask: () => Promise<A>): Effect.Effect<A, QueryFailed> =>
  Effect.tryPromise({ try: ask, catch: failed })

/**
 * A database in memory with these tables, closed with the scope. It can neither read nor write a file, but in `folder` where
 * one is given, and loads no extension; no query can change that.
 */
export const openDatabase = (tables: ReadonlyArray<RunTable>, shows: Shows, folder?: string) =>
  Effect.gen(function* () {
    const duckdb = yield* Effect.promise(() => import("@duckdb/node-api"))
    const instance = yield* Effect.acquireRelease(
      asking(() =>
        duckdb.DuckDBInstance.create(":memory:", {
          autoinstall_known_extensions: "false",
          autoload_known_extensions: "false"
        })
      ),
      (one) => Effect.sync(() => one.closeSync())
    )
    const connection = yield* Effect.acquireRelease(
      asking(() => instance.connect()),
      (one) => Effect.sync(() => one.closeSync())
    )
    const run = (sql: string) => asking(() => connection.run(sql))
    for (const table of tables) {
      register(duckdb, connection, table)
      const shown = table.columns.filter((column) => !isWide(column) || shows(column)).map(({ name }) => quoted(name))
      yield* run(`create view ${quoted(table.name)} as select ${shown.join(", ")} from scan_${table.name}()`)
    }
    if (folder !== undefined) yield* run(`set allowed_directories = ['${folder.replaceAll("'", "''")}']`)
    yield* run("set temp_directory = ''")
    yield* run("set enable_external_access = false")
    yield* run("set lock_configuration = true")
    return connection
  })
