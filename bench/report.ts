/** What the bench says in the end: a table, the settings of each side, and the same as JSON. */
import { availableParallelism, cpus, totalmem } from "node:os"
import { table } from "#cli/table.ts"
import type { Comparison } from "./comparison.ts"

/** A line of `--json FILE`. */
export interface ReportRow {
  readonly name: string
  /** peer / ours in time or memory: above 1 where we are better. */
  readonly ratio: number
  /** Medians, in the unit. */
  readonly ours: number
  readonly peer: number
  readonly unit: string
  /** The lowest and the highest ratio of a round. */
  readonly spread: readonly [lowest: number, highest: number]
}

export const reportRow = ({ case: { name, measure }, ours, peer, ratio, spread }: Comparison): ReportRow => ({
  name,
  ratio,
  ours: measure.shown(ours),
  peer: measure.shown(peer),
  unit: measure.unit,
  spread
})

/** Three or four digits that mean something. */
const figure = (value: number) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2))

const cells = (comparison: Comparison) => {
  const { name, ours, peer, unit, ratio, spread } = reportRow(comparison)
  const range = spread.map((value) => value.toFixed(2)).join("–")
  return [name, figure(ours), figure(peer), unit, ratio.toFixed(2), range, String(comparison.rounds.length)]
}

const machine = () =>
  `${availableParallelism()} cores (${cpus()[0]?.model.trim() ?? "unknown"}), ${(totalmem() / 1e9).toFixed(0)} GB of memory`

const notes = ({ case: { name, about }, settings, firstStep }: Comparison) =>
  [
    `${name}: ${about}`,
    `  ours: ${settings.ours}`,
    `  peer: ${settings.peer}`,
    ...(firstStep === undefined ? [] : [`  first step after start: ${figure(firstStep)} s (ours)`])
  ].join("\n")

/** The table and, of each case, what it compares and how the sides were set up. */
export const reportText = (comparisons: ReadonlyArray<Comparison>): string =>
  [
    machine(),
    table(["case", "ours", "peer", "unit", "ratio", "of rounds", "rounds"], comparisons.map(cells)),
    "ratio: the peer's time or memory / ours, of the medians (higher is better); of rounds: lowest and highest of a round",
    ...comparisons.map(notes)
  ].join("\n\n")
