/** The ablations of the paper's Table 2 on any run file: the adaptations that they are, and their scores over several seeds. */
import { readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import type { RunConfig } from "#pipeline/run-file.ts"
import { lastRows, type ScoredRow } from "#pipeline/score.ts"
import { type Override, readYaml } from "#pipeline/settings.ts"
import { mainAdaptation } from "#pipeline/task-plan.ts"

/** The rows' one definition: variants, each by the keys of `adapt` in which it differs from MMT. */
export const tableFile = fileURLToPath(new URL("../recipes/table-2.yaml", import.meta.url))

type Variants = Readonly<Record<string, Readonly<Record<string, unknown>>>>

const readTable = Effect.promise(async () => {
  const { variants } = readYaml(await readFile(tableFile, "utf8")) as { variants: Variants }
  return variants
})

/** The paper's M_t beside 500, as shares of it: 700 and 900. */
const classShares = [7 / 5, 9 / 5]

/** The numbers of clusters of further MMT rows: none where the run file has variants with other numbers itself. */
const furtherClasses = ({ adapt, variants }: RunConfig): ReadonlyArray<number> =>
  variants.some(([, { classes }]) => classes !== adapt.classes)
    ? []
    : classShares.map((share) => Math.round(share * adapt.classes))

/**
 * What a run file is overridden by to have the rows of Table 2 as variants, beside its own: those of `tableFile`, and MMT with
 * other numbers of clusters, by default 7/5 and 9/5 of the run file's, as the paper's 700 and 900 are of 500.
 */
export const ablationOf = (run: RunConfig, classes?: ReadonlyArray<number>) =>
  Effect.map(readTable, (table): ReadonlyArray<Override> => {
    const clusters = (classes ?? furtherClasses(run)).filter((count) => count !== run.adapt.classes)
    const rows: Variants = {
      ...table,
      ...Object.fromEntries(clusters.map((count) => [`mmt-${count}`, { algorithm: "kmeans", classes: count }]))
    }
    return Object.entries(rows).map(([name, value]) => ({ key: `variants.${name}`, value }))
  })

/** A score over seeds, in percent. */
export interface Spread {
  readonly mean: number
  readonly min: number
  readonly max: number
  /** In the order of the seeds. */
  readonly seeds: ReadonlyArray<number>
}

/** A row of the table. */
export interface AblationRow {
  readonly name: string
  /** Mean of the two networks after the last epoch. */
  readonly last: { readonly mAP: Spread; readonly top1: Spread }
  /** The network of the highest mAP after any evaluated epoch: chosen by the test labels, as the paper's scores are. */
  readonly best: { readonly mAP: Spread; readonly top1: Spread }
}

const spreadOf = (seeds: ReadonlyArray<number>): Spread => ({
  mean: seeds.reduce((sum, value) => sum + value, 0) / seeds.length,
  min: Math.min(...seeds),
  max: Math.max(...seeds),
  seeds
})

/** Source only first, then what is not all of MMT, then MMT by the run file and MMT with other clusters. */
const inOrder = (names: ReadonlyArray<string>) => {
  const isMmt = (name: string) => name === mainAdaptation || name.startsWith(`${mainAdaptation}-`)
  const others = names.filter((name) => !isMmt(name))
  return [...others, mainAdaptation, ...names.filter((name) => isMmt(name) && name !== mainAdaptation)]
}

const bestNetwork = (rows: ReadonlyArray<ScoredRow>, name: string) =>
  rows
    .filter((row) => row.name === name)
    .flatMap(({ networks }) => networks)
    .reduce((best, scores) => (scores.mAP! > best.mAP! ? scores : best))

/** The table, from the scored rows of one run for each seed. */
export const ablationRows = (runs: ReadonlyArray<ReadonlyArray<ScoredRow>>): ReadonlyArray<AblationRow> => {
  const last = runs.map(lastRows)
  const spreads = (scores: ReadonlyArray<Readonly<Record<string, number>>>) => ({
    mAP: spreadOf(scores.map((one) => one.mAP!)),
    top1: spreadOf(scores.map((one) => one["top-1"]!))
  })
  return inOrder(last[0]!.map(({ name }) => name)).map((name) => ({
    name,
    last: spreads(last.map((rows) => rows.find((row) => row.name === name)!.mean)),
    best: spreads(runs.map((rows) => bestNetwork(rows, name)))
  }))
}
