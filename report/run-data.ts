/** What a report is made from: a run's folder, its run file, the records that belong to it, and its scores. */
import { readFile } from "node:fs/promises"
import { basename, join, resolve } from "node:path"
import { Effect, Stream } from "effect"
import { type KeptAudit, readAudit } from "#audit/kept-audit.ts"
import { imageRows } from "#data/image-rows.ts"
import { inletOf } from "#pipeline/arrow-file.ts"
import { readManifest, type TaskRecord } from "#pipeline/manifest.ts"
import type { RunConfig } from "#pipeline/run-file.ts"
import { currentRecords, runFileOf, type ScoredRow, scoreRun } from "#pipeline/score.ts"
import { type Artifact, type Columns, type View, viewOf } from "#schemas/artifact.ts"

export interface RunData {
  readonly folder: string
  /** What tells the run from the others of the same report. */
  readonly label: string
  readonly config: RunConfig
  /** The kept run file, as it stands. */
  readonly runFile: string
  /** Tasks that are done by the run file's settings. */
  readonly records: ReadonlyMap<string, TaskRecord>
  /** By epoch; none where nothing is evaluated yet. */
  readonly rows: ReadonlyArray<ScoredRow>
  /** The last audit; undefined where there was none. */
  readonly audit: KeptAudit | undefined
}

/** Reads what a run has so far; it may be going on. Fails where the folder holds no run. */
export const readRun = Effect.fn("readRun")(function* (folder: string) {
  const config = yield* runFileOf(folder)
  const runFile = yield* Effect.promise(() => readFile(join(folder, "run.yaml"), "utf8"))
  const records = yield* currentRecords(config, yield* readManifest(folder))
  const rows = yield* scoreRun(config, folder).pipe(Effect.catchTag("NoScores", () => Effect.succeed([])))
  const audit = yield* readAudit(folder)
  return { folder, label: config.name, config, runFile, records, rows, audit } satisfies RunData
})

/** The runs with labels that differ: a name that several have is told apart by the folder. */
export const distinctlyLabelled = (runs: ReadonlyArray<RunData>): ReadonlyArray<RunData> => {
  const names = Map.groupBy(runs, ({ label }) => label)
  const folders = Map.groupBy(runs, ({ folder }) => basename(resolve(folder)))
  return runs.map((run) => {
    if (names.get(run.label)!.length === 1) return run
    const own = basename(resolve(run.folder))
    return { ...run, label: folders.get(own)!.length === 1 ? own : run.folder }
  })
}

/** Paths of the Arrow files at a task's output port; none where the task is not done. */
export const filesOf = ({ folder, records }: RunData, task: string, port: string): ReadonlyArray<string> =>
  (records.get(task)?.outputs[port]?.files ?? []).map(({ path }) => join(folder, path))

/** Whole columns of the record batches in these files, in order. */
export const readViews = <C extends Columns>(artifact: Artifact<string, C>, files: ReadonlyArray<string>) =>
  files.length === 0
    ? Effect.succeed([] as ReadonlyArray<View<C>>)
    : Effect.map(Stream.runCollect(inletOf(artifact as Artifact, files).batches), (batches) =>
        batches.map((batch) => viewOf(artifact, batch))
      )

/** The decoded images of a split by name; undefined where they are not there. */
export const decodedImages = Effect.fnUntraced(function* (run: RunData, split: string) {
  const files = filesOf(run, `decode/${split}`, "images")
  return files.length > 0 ? yield* imageRows(files) : undefined
})
