/** `mmt score`: the table of a run's scores. */
import { Console, Effect } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { clusterTable } from "#cli/cluster-table.ts"
import { duration } from "#cli/progress.ts"
import { table } from "#cli/table.ts"
import { type Clustering, clusterings, sizeSummary } from "#pipeline/clusterings.ts"
import { readManifest } from "#pipeline/manifest.ts"
import { planTasks } from "#pipeline/plan.ts"
import type { RunConfig } from "#pipeline/run-file.ts"
import {
  bestNetworks,
  lastRows,
  runFileOf,
  type ScoredRow,
  type Scores,
  scoreRun,
  whyUnscored
} from "#pipeline/score.ts"

const shown = (value: number | undefined) => (value === undefined ? "–" : value.toFixed(1))

const scoreNames = (rows: ReadonlyArray<ScoredRow>) => Object.keys(rows[0]!.mean).filter((name) => name !== "queries")

const scoreTable = (rows: ReadonlyArray<ScoredRow>, reranked: boolean) => {
  const names = scoreNames(rows)
  const cells = (scores: Scores) => names.map((name) => shown(scores[name]))
  const lines = rows.flatMap(({ name, epoch, mean, networks }) => [
    [epoch > 0 ? `${name}, epoch ${epoch}` : name, ...cells(mean)],
    ...networks.map((scores, i) => [`  network ${i + 1}`, ...cells(scores)])
  ])
  return table([reranked ? "target test, re-ranked, %" : "target test, %", ...names], lines)
}

/** The paper's way of choosing a network, which needs the labels of the test set; so it stands apart from the last epoch. */
const bestTable = (rows: ReadonlyArray<ScoredRow>) => {
  const names = scoreNames(rows)
  const lines = bestNetworks(rows).map(({ name, epoch, network, scores, checkpoint }) => [
    `${name}, epoch ${epoch}, ${network}`,
    ...names.map((key) => shown(scores[key])),
    checkpoint
  ])
  return table(["best network by the test set's mAP, %", ...names, "checkpoint"], lines)
}

const epochTable = (rows: ReadonlyArray<ScoredRow>) => {
  const adaptations = [...new Set(rows.filter(({ epoch }) => epoch > 0).map(({ name }) => name))]
  const epochs = [...new Set(rows.filter(({ epoch }) => epoch > 0).map(({ epoch }) => epoch))].sort((a, b) => a - b)
  const cell = (name: string, epoch: number) =>
    shown(rows.find((row) => row.name === name && row.epoch === epoch)?.mean.mAP)
  return table(
    ["mAP after epoch", ...epochs.map(String)],
    adaptations.map((name) => [name, ...epochs.map((epoch) => cell(name, epoch))])
  )
}

/** Time of each phase, and of those that train the time of a step and the share spent waiting for batches. */
const phaseTable = Effect.fn("phaseTable")(function* (folder: string) {
  const config = yield* runFileOf(folder)
  const manifest = yield* readManifest(folder)
  const phases = new Map<string, { seconds: number; steps: number; stepMillis: number; waitMillis: number }>()
  for (const { id, phase } of planTasks(config)) {
    const record = manifest.get(id)
    if (record === undefined) continue
    const sum = phases.get(phase) ?? { seconds: 0, steps: 0, stepMillis: 0, waitMillis: 0 }
    const { steps = 0, stepMillis = 0, waitingShare = 0 } = record.training ?? {}
    const stepping = steps * stepMillis
    phases.set(phase, {
      seconds: sum.seconds + record.seconds,
      steps: sum.steps + steps,
      stepMillis: sum.stepMillis + stepping,
      waitMillis: sum.waitMillis + (stepping * waitingShare) / (1 - waitingShare)
    })
  }
  const lines = [...phases].map(([phase, { seconds, steps, stepMillis, waitMillis }]) => [
    phase,
    duration(seconds),
    ...(steps > 0
      ? [
          String(steps),
          `${Math.round(stepMillis / steps)} ms`,
          `${((100 * waitMillis) / (stepMillis + waitMillis)).toFixed(1)} %`
        ]
      : ["", "", ""])
  ])
  return table(["phase", "time", "steps", "a step", "waiting for batches"], lines)
})

const scoreTables = Effect.fnUntraced(function* (config: RunConfig, folder: string) {
  const rows = yield* scoreRun(config, folder)
  const adapted = rows.some(({ epoch }) => epoch > 0)
  return [scoreTable(lastRows(rows), config.evaluate.rerank), ...(adapted ? [epochTable(rows), bestTable(rows)] : [])]
})

/** The whole report of a run in text: scores, or clusters where nothing can be scored; times, and where the run lies. */
export const scoreReport = Effect.fn("scoreReport")(function* (folder: string) {
  const config = yield* runFileOf(folder)
  const unscored = whyUnscored(config)
  const results =
    unscored === undefined
      ? yield* scoreTables(config, folder)
      : [unscored, clusterTable(yield* clusterings(config, folder))]
  const parts = [...results, yield* phaseTable(folder), `seed ${config.seed}; run folder: ${folder}`]
  return `\n${parts.join("\n\n")}`
})

const clusterEntry = (clustering: Clustering) => {
  const { epoch, images, outliers, moved, nmi } = clustering
  return { epoch, images, ...sizeSummary(clustering), outliers, moved, nmi }
}

/** The scores for programs; clusters where nothing can be scored, which is said on stderr. */
const scoreEntries = Effect.fnUntraced(function* (folder: string) {
  const config = yield* runFileOf(folder)
  const unscored = whyUnscored(config)
  if (unscored !== undefined) {
    yield* Console.error(unscored)
    const byName = Map.groupBy(yield* clusterings(config, folder), ({ name }) => name)
    return [...byName].map(([name, rows]) => ({ name, clusterings: rows.map(clusterEntry) }))
  }
  const rows = yield* scoreRun(config, folder)
  const best = new Map(bestNetworks(rows).map((network) => [network.name, network]))
  const scored = (scores: Scores) =>
    Object.fromEntries(scoreNames(rows).map((key) => [key.replace("-", ""), scores[key]]))
  return lastRows(rows).map(({ name, mean }) => {
    const own = best.get(name)
    if (own === undefined) return { name, ...scored(mean) }
    const { epoch, network, scores, checkpoint } = own
    return { name, ...scored(mean), best: { epoch, network, ...scored(scores), checkpoint } }
  })
})

export const score = Command.make(
  "score",
  {
    run: Argument.String("RUN").pipe(Argument.withDescription("A run's folder")),
    json: Flag.Boolean("json").pipe(
      Flag.withDescription(
        "Print [{name, mAP, top1, top5, top10, best: {epoch, network, mAP, …, checkpoint}}], in percent; without target labels [{name, clusterings: [{epoch, …}]}]"
      ),
      Flag.withDefault(false)
    )
  },
  Effect.fn("mmt score")(function* ({ run, json }) {
    yield* Console.log(json ? JSON.stringify(yield* scoreEntries(run), null, 2) : yield* scoreReport(run))
  })
).pipe(
  Command.withShortDescription("Print a run's scores"),
  Command.withDescription(
    "Prints mAP and CMC on the target's test set, in percent: source only, every variant, and MMT, each after its last epoch and as the mean of its two networks (the mean teachers where there are any). Beside them, of each adaptation the single network with the highest mAP over all evaluated epochs, and where it lies: so the paper reports, but the choice uses the labels of the target's test set. Where the target has no labels, there is nothing to score: then its clusters are shown, epoch by epoch."
  ),
  Command.withExamples([
    { command: "mmt score runs/quickstart", description: "Tables" },
    { command: "mmt score runs/quickstart --json", description: "For programs" }
  ])
)
