/** `mmt sql`: SQL over a run's artifacts. */
import type { DuckDBDataChunk, DuckDBResult, DuckDBValue } from "@duckdb/node-api"
import { Console, Effect, Option, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { asking, openDatabase, QueryFailed } from "#audit/duckdb.ts"
import { openRun } from "#audit/open-run.ts"
import { resultBatch, resultSchema } from "#audit/query-result.ts"
import { runTables } from "#audit/sql-tables.ts"
import { runArgument } from "#cli/audit.ts"
import { count } from "#cli/progress.ts"
import { Misuse } from "#cli/set-flag.ts"
import { table } from "#cli/table.ts"
import { writeBatches } from "#pipeline/arrow-file.ts"

const mostRows = 1000
const longestCell = 60

const cellText = (value: DuckDBValue): string => {
  if (value === null) return "null"
  if (typeof value === "object" && "bytes" in value) return `${count((value.bytes as Uint8Array).length)} bytes`
  const text = typeof value === "number" && !Number.isInteger(value) ? String(+value.toPrecision(7)) : String(value)
  return text.length > longestCell ? `${text.slice(0, longestCell - 1)}…` : text
}

const csvField = (value: DuckDBValue): string => {
  const text = value === null ? "" : String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

const chunksOf = (result: DuckDBResult): Stream.Stream<DuckDBDataChunk, QueryFailed> =>
  Stream.fromAsyncIterable(result, (cause) => new QueryFailed({ problem: (cause as Error).message.trim() }))

const printTable = (result: DuckDBResult) =>
  Effect.gen(function* () {
    const rows: Array<ReadonlyArray<string>> = []
    let total = 0
    yield* Stream.runForEach(chunksOf(result), (chunk) =>
      Effect.sync(() => {
        total += chunk.rowCount
        if (rows.length < mostRows) rows.push(...chunk.getRows().map((row) => row.map(cellText)))
      })
    )
    const more = total > mostRows ? `\n… ${count(total - mostRows)} rows more; --csv and --arrow give all` : ""
    yield* Console.log(
      `${table(result.deduplicatedColumnNames(), rows.slice(0, mostRows))}${more}\n\n${count(total)} rows`
    )
  })

const printCsv = (result: DuckDBResult) =>
  Effect.andThen(Console.log(result.deduplicatedColumnNames().map(csvField).join(",")), () =>
    Stream.runForEach(chunksOf(result), (chunk) =>
      Console.log(
        chunk
          .getRows()
          .map((row) => row.map(csvField).join(","))
          .join("\n")
      )
    )
  )

const writeArrow = (result: DuckDBResult, file: string) =>
  Effect.gen(function* () {
    const schema = resultSchema(result)
    const batches = chunksOf(result).pipe(Stream.map((chunk) => resultBatch(schema, chunk)))
    const written = yield* writeBatches(() => file, Number.POSITIVE_INFINITY, batches)
    if (written.length === 0)
      return yield* new QueryFailed({ problem: "the query gave no rows, so nothing was written" })
    yield* Console.log(`${file}: ${count(written[0]!.rows)} rows`)
  })

export const sql = Command.make(
  "sql",
  {
    run: runArgument,
    query: Argument.String("QUERY").pipe(Argument.withDescription("DuckDB's SQL; `show tables` lists the tables")),
    csv: Flag.Boolean("csv").pipe(Flag.withDescription("Print CSV"), Flag.withDefault(false)),
    arrow: Flag.String("arrow").pipe(
      Flag.withMetavar("FILE"),
      Flag.withDescription("Write an Arrow file"),
      Flag.optional
    )
  },
  Effect.fn("mmt sql")(function* ({ run: folder, query, csv, arrow }) {
    if (csv && Option.isSome(arrow)) return yield* new Misuse({ problem: "--csv and --arrow: expected one of them" })
    const words = new Set(query.toLowerCase().match(/\w+/g))
    const connection = yield* openDatabase(runTables(yield* openRun(folder)), ({ name }) =>
      words.has(name.toLowerCase())
    )
    const result = yield* asking(() => connection.stream(query))
    if (Option.isSome(arrow)) return yield* writeArrow(result, arrow.value)
    yield* csv ? printCsv(result) : printTable(result)
  }, Effect.scoped)
).pipe(
  Command.withShortDescription("Ask a run by SQL"),
  Command.withDescription(
    "Runs DuckDB's SQL over a run's artifacts: images, embeddings, pseudo_labels, centroids, train_metrics, teacher_updates, checkpoint, metrics, ranking, and what the tap kept. Every table also has task, variant, epoch, network and split, read from the folders. Pixels, vectors and weights are there where the query names them. The query can read nothing else on this machine, and write nothing."
  ),
  Command.withExamples([
    {
      command:
        "mmt sql runs/quickstart \"select variant, epoch, avg(value) from metrics where name = 'mAP' group by all order by all\"",
      description: "mAP by epoch"
    },
    {
      command: 'mmt sql runs/quickstart "select epoch, avg(total) as loss from train_metrics group by all" --csv',
      description: "As CSV"
    }
  ])
)
