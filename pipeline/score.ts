/** The scores of a run: mAP and CMC of each row of its table, read from its `metrics` artifacts. */
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Schema, Stream } from "effect"
import { inletOf } from "#pipeline/arrow-file.ts"
import { hasTargetLabels } from "#pipeline/evaluation-plan.ts"
import { readManifest, type TaskRecord } from "#pipeline/manifest.ts"
import { planTasks, type ScoreRow, scoreRows } from "#pipeline/plan.ts"
import { parseRunFile, type RunConfig } from "#pipeline/run-file.ts"
import { digestsOf, isOfSettings } from "#pipeline/state.ts"
import { folderOf } from "#pipeline/task-plan.ts"
import { viewOf } from "#schemas/artifact.ts"
import { metrics } from "#schemas/metrics.ts"

/** Scores in percent, by the names of the `metrics` artifact: mAP, top-1, … */
export type Scores = Readonly<Record<string, number>>

export interface ScoredRow extends ScoreRow {
  /** Mean of the row's networks. */
  readonly mean: Scores
  /** Of each network, in the order of `tasks`. */
  readonly networks: ReadonlyArray<Scores>
  /** Of an adaptation: the file that holds its networks after the epoch. */
  readonly checkpoint: string | undefined
}

/** The folder holds no run, or its evaluations are not done. */
export class NoScores extends Schema.TaggedError<NoScores>()("NoScores", {
  folder: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `${this.folder}: ${this.problem}`
  }
}

/** The run file that a run's folder keeps, read. */
export const runFileOf = (folder: string) =>
  Effect.gen(function* () {
    const file = join(folder, "run.yaml")
    const text = yield* Effect.tryPromise({
      try: () => readFile(file, "utf8"),
      catch: () => new NoScores({ folder, problem: "is not a run's folder: it has no run.yaml" })
    })
    return yield* parseRunFile(text, file)
  })

/** Why a run is not evaluated, where it is not. */
export const whyUnscored = (config: RunConfig): string | undefined =>
  hasTargetLabels(config)
    ? undefined
    : `nothing is evaluated: the target has no labels (format ${config.data.target.format}), so there is nothing to score`

/** The values of a `metrics` file by name, as it has them. */
export const metricValues = (file: string) =>
  Effect.map(Stream.runCollect(inletOf(metrics, [file]).batches), (batches) =>
    Object.fromEntries(
      batches.flatMap((batch) => {
        const { name, value } = viewOf(metrics, batch)
        return name.map((key, row) => [key, value[row]!] as const)
      })
    )
  )

/** The scores that a `metrics` file holds, in percent. */
export const scoresOf = (file: string) =>
  Effect.map(
    metricValues(file),
    (values): Scores =>
      Object.fromEntries(Object.entries(values).map(([key, value]) => [key, key === "queries" ? value : 100 * value]))
  )

/** The mean of several networks' scores (one or more). */
export const meanScores = (all: ReadonlyArray<Scores>): Scores =>
  Object.fromEntries(
    Object.keys(all[0]!).map((name) => [name, all.reduce((sum, scores) => sum + scores[name]!, 0) / all.length])
  )

/** The records that belong to the run file, where a run of other settings was changed and not finished. */
export const currentRecords = Effect.fnUntraced(function* (
  config: RunConfig,
  manifest: ReadonlyMap<string, TaskRecord>
) {
  const current = new Map<string, TaskRecord>()
  for (const task of planTasks(config)) {
    const record = manifest.get(task.id)
    if (record && (yield* isOfSettings(task, record, digestsOf(current)))) current.set(task.id, record)
  }
  return current
})

/** Every row of the table by epoch that the run has evaluated so far, by the settings of the run file. */
export const scoreRun = Effect.fn("scoreRun")(function* (config: RunConfig, folder: string) {
  const current = yield* currentRecords(config, yield* readManifest(folder))
  const rows: Array<ScoredRow> = []
  for (const row of scoreRows(config)) {
    const files = row.tasks.map((task) => current.get(task)?.outputs.metrics?.files[0]?.path)
    if (files.includes(undefined)) continue
    const networks = yield* Effect.forEach(files, (file) => scoresOf(join(folder, file!)))
    const trained = row.epoch > 0 ? current.get(folderOf(row.name, "train", row.epoch)) : undefined
    const checkpoint = trained?.outputs.checkpoint?.files[0]?.path
    rows.push({ ...row, networks, mean: meanScores(networks), checkpoint: checkpoint && join(folder, checkpoint) })
  }
  if (rows.length === 0)
    return yield* new NoScores({ folder, problem: "nothing is evaluated in it yet by its run.yaml" })
  return rows
})

/** The rows of the table: of each name its last evaluated epoch. */
export const lastRows = (rows: ReadonlyArray<ScoredRow>): ReadonlyArray<ScoredRow> => [
  ...new Map(rows.map((row) => [row.name, row])).values()
]

/** A single network of an adaptation, with the file that holds it. */
export interface BestNetwork {
  readonly name: string
  readonly epoch: number
  readonly network: string
  readonly scores: Scores
  readonly checkpoint: string
}

/**
 * Of each adaptation the network with the highest mAP over all evaluated epochs, the first one of equals: how the paper reports. Its
 * choice looks at the labels of the target's test set, so its scores are no estimate for other images.
 */
export const bestNetworks = (rows: ReadonlyArray<ScoredRow>): ReadonlyArray<BestNetwork> => {
  const best = new Map<string, BestNetwork>()
  for (const { name, epoch, tasks, networks, checkpoint } of rows)
    for (const [i, scores] of networks.entries())
      if (checkpoint !== undefined && !(scores.mAP! <= (best.get(name)?.scores.mAP ?? Number.NEGATIVE_INFINITY)))
        best.set(name, { name, epoch, network: tasks[i]!.slice(tasks[i]!.lastIndexOf("/") + 1), scores, checkpoint })
  return [...best.values()]
}
