/** `mmt export parquet`: a run's artifacts as Parquet files. */
import { rename, rm } from "node:fs/promises"
import { join, resolve } from "node:path"
import { Console, Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { asking, openDatabase } from "#audit/duckdb.ts"
import { openRun } from "#audit/open-run.ts"
import { runTables } from "#audit/sql-tables.ts"
import { runArgument } from "#cli/audit.ts"
import { count } from "#cli/progress.ts"
import { makeFolder } from "#data/make-folder.ts"
import { WriteFailed } from "#pipeline/arrow-file.ts"

const parquet = Command.make(
  "parquet",
  {
    run: runArgument,
    out: Flag.String("out").pipe(
      Flag.withMetavar("DIR"),
      Flag.withDescription("Folder for TABLE.parquet of each table")
    ),
    blobs: Flag.Boolean("blobs").pipe(
      Flag.withDescription("With pixels and weights, which are most of a run's bytes"),
      Flag.withDefault(false)
    )
  },
  Effect.fn("mmt export parquet")(function* ({ run: folder, out, blobs }) {
    const tables = runTables(yield* openRun(folder))
    const place = resolve(out)
    yield* Effect.tryPromise({ try: () => makeFolder(place), catch: WriteFailed.of(place) })
    const connection = yield* openDatabase(tables, ({ type }) => blobs || type.startsWith("FixedSizeList["), place)
    for (const { name } of tables) {
      const file = join(place, `${name}.parquet`)
      const partial = join(place, `.${name}.parquet.${process.pid}.partial`)
      const copied = yield* asking(() =>
        connection.run(`copy (from "${name}") to '${partial.replaceAll("'", "''")}' (format parquet, compression zstd)`)
      ).pipe(Effect.ensuring(Effect.promise(() => rename(partial, file).catch(() => rm(partial, { force: true })))))
      yield* Console.log(`${join(out, `${name}.parquet`)}: ${count(copied.rowsChanged)} rows`)
    }
  }, Effect.scoped)
).pipe(
  Command.withShortDescription("Write a run's tables as Parquet"),
  Command.withDescription("Writes every table that `mmt sql` knows as a Parquet file, for tools that read no Arrow."),
  Command.withExamples([
    {
      command: "mmt export parquet runs/quickstart --out quickstart-parquet",
      description: "All but pixels and weights"
    }
  ])
)

export const exportCommand = Command.make("export").pipe(
  Command.withDescription("Write a run's artifacts in other formats"),
  Command.withSubcommands([parquet])
)
