/** The loss terms and the times of an epoch's steps so far. */
import { wrapped } from "#cli/terminal-text.ts"
import type { TrainingStep } from "#pipeline/events.ts"

const termNames: Readonly<Record<string, string>> = {
  total: "loss",
  ce: "identity",
  tri: "triplet",
  softCe: "soft identity",
  softTri: "soft triplet"
}

const mean = (values: ReadonlyArray<number>) => values.reduce((a, b) => a + b, 0) / values.length

export const trainingSoFar = () => {
  let steps = 0
  let [stepping, waiting] = [0, 0]
  let sums: Record<string, number> = {}

  /** Means over the steps; `ce1` and `ce2` are the term `ce` of two networks, and their mean is shown. */
  const terms = () => {
    const byTerm = Map.groupBy(Object.keys(sums), (column) => column.replace(/\d+$/, ""))
    const total = byTerm.get("total") ?? []
    byTerm.delete("total")
    return [["total", total] as const, ...byTerm].flatMap(([term, columns]) =>
      columns.length === 0
        ? []
        : [`${termNames[term] ?? term} ${mean(columns.map((column) => sums[column]! / steps)).toFixed(3)}`]
    )
  }

  return {
    clear: () => {
      steps = stepping = waiting = 0
      sums = {}
    },
    /** Called at every step, so nothing is made into text here. */
    add: ({ losses, stepMillis, waitMillis }: TrainingStep) => {
      steps++
      stepping += stepMillis
      waiting += waitMillis
      for (const name in losses) sums[name] = (sums[name] ?? 0) + losses[name]!
    },
    /** The terms, and how much of the time went by waiting for data; none before the first step. */
    lines: (width: number): ReadonlyArray<string> =>
      steps === 0
        ? []
        : wrapped([...terms(), `waiting for data ${((100 * waiting) / (waiting + stepping)).toFixed(1)} %`], width - 2),
    /** An epoch in a line, by the times of all its steps. */
    summary: (stepMillis: ReadonlyArray<number>, waitMillis: ReadonlyArray<number>) => {
      const share = mean(waitMillis) / (mean(waitMillis) + mean(stepMillis))
      const loss = "total" in sums ? `loss ${(sums.total! / steps).toFixed(3)}, ` : ""
      return `${loss}${stepMillis.length} steps of ${Math.round(mean(stepMillis))} ms, ${(100 * share).toFixed(1)} % waiting for data`
    }
  }
}
