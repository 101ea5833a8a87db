/** `mmt show`: what an Arrow file holds. */
import { open } from "node:fs/promises"
import type { Schema as ArrowSchema, RecordBatch } from "apache-arrow"
import { Console, Effect, Result, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { count } from "#cli/progress.ts"
import { table } from "#cli/table.ts"
import { openReader, readProblem } from "#pipeline/arrow-file.ts"
import { ArtifactUnreadable, columnError } from "#schemas/artifact.ts"
import { artifacts } from "#schemas/artifacts.ts"

const longestCell = 40

/** A value as one short text: long vectors and binaries by their first entries. */
const cell = (value: unknown): string => {
  if (value === null || value === undefined) return "null"
  if (typeof value === "object") {
    const values = Array.from(value as Iterable<unknown>).map((v) => (typeof v === "number" ? +v.toPrecision(4) : v))
    const first = values.slice(0, 4).join(", ")
    return values.length > 4 ? `[${first}, … ${values.length}]` : `[${first}]`
  }
  const text = typeof value === "number" && !Number.isInteger(value) ? String(+value.toPrecision(6)) : String(value)
  return text.length > longestCell ? `${text.slice(0, longestCell - 1)}…` : text
}

const read = (file: string, rows: number) =>
  Effect.tryPromise({
    try: async () => {
      const handle = await open(file, "r")
      try {
        const reader = await openReader(handle)
        // The reader forgets its schema at the end.
        const { schema } = reader
        const batches: Array<RecordBatch> = []
        let total = 0
        for await (const batch of reader as AsyncIterable<RecordBatch>) {
          if (total < rows) batches.push(batch)
          total += batch.numRows
        }
        return { schema, batches, total }
      } finally {
        await handle.close().catch(() => {})
      }
    },
    catch: (cause) => new ArtifactUnreadable({ artifact: "an Arrow file", source: file, problem: readProblem(cause) })
  })

/** The artifacts whose pinned columns the file has; of several, the one that pins most. */
const artifactOf = (schema: ArrowSchema) =>
  artifacts
    .filter((artifact) => columnError(artifact, schema, "") === undefined)
    .sort((a, b) => Object.keys(b.columns).length - Object.keys(a.columns).length)[0]

/** What the first rows hold against the artifact's own schema of a row, such as a NaN in an embedding. */
const rowProblems = (schema: ArrowSchema, rows: ReadonlyArray<Record<string, unknown>>): ReadonlyArray<string> => {
  const artifact = artifactOf(schema)
  if (artifact === undefined) return []
  return rows.flatMap((row, index) => {
    const plain = Object.fromEntries(
      Object.keys(artifact.columns).map((name) => {
        const value = row[name]
        const isVector = typeof value === "object" && value !== null && !(value instanceof Uint8Array)
        return [name, isVector ? Array.from(value as Iterable<unknown>) : value]
      })
    )
    const decoded = Schema.decodeUnknownResult(artifact.row)(plain)
    return Result.isFailure(decoded) ? [`row ${index}: ${decoded.failure.message.replaceAll("\n", " ")}`] : []
  })
}

export const show = Command.make(
  "show",
  {
    file: Argument.String("FILE.arrow").pipe(Argument.withDescription("An Arrow file, IPC file or stream format")),
    rows: Flag.Int("rows").pipe(
      Flag.withDescription("Rows to print"),
      Flag.withSchema(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))),
      Flag.withDefault(5)
    )
  },
  Effect.fn("mmt show")(function* ({ file, rows: wanted }) {
    const { schema, batches, total } = yield* read(file, wanted)
    const rows = batches.flatMap((batch) => [...batch].map((row) => row!.toJSON())).slice(0, wanted)
    const artifact = artifactOf(schema)
    const columns = schema.fields.map(({ name, type, nullable }) => [name, String(type), nullable ? "nullable" : ""])
    const metadata = [...schema.metadata].map(([key, value]) => `${key} = ${value}`)
    const parts = [
      `${file}: ${count(total)} rows${artifact ? `, ${artifact.name}` : ""}`,
      columns.map((line) => `  ${line.join("  ").trimEnd()}`).join("\n"),
      ...(metadata.length > 0 ? [metadata.map((line) => `  ${line}`).join("\n")] : []),
      table(
        schema.fields.map(({ name }) => name),
        rows.map((row) => schema.fields.map(({ name }) => cell(row[name])))
      ),
      ...rowProblems(schema, rows)
    ]
    yield* Console.log(parts.join("\n\n"))
  })
).pipe(
  Command.withShortDescription("Show an Arrow file: schema, metadata, first rows"),
  Command.withDescription(
    "Prints the columns, the metadata and the first rows of an Arrow file, and which artifact of the pipeline it is."
  ),
  Command.withExamples([
    {
      command: "mmt show runs/quickstart/cluster/epoch-001/pseudo-labels.arrow",
      description: "The first pseudo labels"
    }
  ])
)
