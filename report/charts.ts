/** The charts of a report, from what was read of its runs. */
import { mainAdaptation } from "#pipeline/task-plan.ts"
import { type Chart, reference, type Series } from "#report/chart.ts"
import type { Clusterings } from "#report/clusterings.ts"
import type { LossCurves } from "#report/losses.ts"
import type { RunData } from "#report/run-data.ts"
import type { TeacherDistances } from "#report/teachers.ts"

/** What the charts of one run are made from. */
export interface ChartData {
  readonly run: RunData
  readonly losses: ReadonlyArray<LossCurves>
  readonly clusterings: ReadonlyArray<Clusterings>
  readonly teachers: ReadonlyArray<TeacherDistances>
}

/** One curve's place among all runs and adaptations of a report. */
export interface Entry {
  readonly data: ChartData
  readonly adaptation: string
  readonly name: string
  readonly colour: number
}

/** Names with the run's label where there are several runs, and colours: the main adaptations have the first. */
export const entriesOf = (all: ReadonlyArray<ChartData>): ReadonlyArray<Entry> => {
  const named = all.flatMap((data) => {
    const names = [...data.run.config.variants.map(([name]) => name), mainAdaptation]
    return names.map((adaptation) => ({ data, adaptation, name: inRun(all, data, adaptation) }))
  })
  const colours = [
    ...named.filter(({ adaptation }) => adaptation === mainAdaptation),
    ...named.filter(({ adaptation }) => adaptation !== mainAdaptation)
  ]
  return named.map((entry) => ({ ...entry, colour: colours.indexOf(entry) }))
}

const inRun = (all: ReadonlyArray<ChartData>, { run }: ChartData, name: string) => {
  if (all.length === 1) return name
  return name === mainAdaptation ? run.label : `${run.label} ${name}`
}

/**
 * Names of metrics and variants are of letters, digits and -, so they stay apart; what else a file holds cannot lead to
 * another folder. A run is named by its number: labels may differ in signs alone.
 */
const idOf = (...parts: ReadonlyArray<string | number>) =>
  parts
    .join("-")
    .toLowerCase()
    .replace(/[^a-z0-9-]/g, "-")

/** Every x that any of the curves has, ascending. */
export const unionOf = (all: ReadonlyArray<ReadonlyArray<number>>) => [...new Set(all.flat())].sort((a, b) => a - b)

/** Values at these x; NaN where the curve has none. */
export const at = (
  xs: ReadonlyArray<number>,
  own: ReadonlyArray<number>,
  values: ReadonlyArray<number | undefined>
) => {
  const byX = new Map(own.map((x, i) => [x, values[i]]))
  return xs.map((x) => byX.get(x) ?? Number.NaN)
}

const scoreChart = (all: ReadonlyArray<ChartData>, metric: string): Chart => {
  const rowsOf = ({ data, adaptation }: Entry) => data.run.rows.filter(({ name }) => name === adaptation)
  const entries = entriesOf(all).filter((entry) => rowsOf(entry).length > 0)
  const epochs = unionOf(entries.map((entry) => rowsOf(entry).map(({ epoch }) => epoch)))
  const series = entries.flatMap((entry): ReadonlyArray<Series> => {
    const rows = rowsOf(entry)
    const own = rows.map(({ epoch }) => epoch)
    const { colour, name } = entry
    const networks = rows[0]!.tasks.map((task, i) => ({
      name: `${name} ${task.split("/").at(-1)}`,
      colour,
      faint: true,
      values: at(
        epochs,
        own,
        rows.map((row) => row.networks[i]?.[metric])
      )
    }))
    const mean = at(
      epochs,
      own,
      rows.map((row) => row.mean[metric])
    )
    return [{ name, colour, values: mean }, ...networks]
  })
  const references = all.flatMap((data) => {
    const value = data.run.rows.find(({ name }) => name === "source-only")?.mean[metric]
    return value === undefined ? [] : [{ name: inRun(all, data, "source-only"), value, colour: reference }]
  })
  return {
    id: idOf("score", metric),
    title: metric === "mAP" ? "mAP by epoch" : `CMC ${metric} by epoch`,
    about:
      "On the target's test set: thick the mean of the two networks, thin each of them; dashed without adaptation.",
    kind: "lines",
    x: { label: "epoch", values: epochs, digits: 0 },
    y: { label: `${metric}, %`, digits: 1 },
    series,
    references
  }
}

/** mAP and each CMC rank by epoch, over all runs. */
export const scoreCharts = (all: ReadonlyArray<ChartData>): ReadonlyArray<Chart> => {
  const metrics = [...new Set(all.flatMap(({ run }) => run.rows.flatMap(({ mean }) => Object.keys(mean))))]
  return metrics.filter((name) => name !== "queries").map((metric) => scoreChart(all, metric))
}

export const termNames: Readonly<Record<string, string>> = {
  ce: "identity",
  tri: "triplet",
  softCe: "soft identity",
  softTri: "soft triplet"
}

/** The loss terms of each phase; the runs' charts of a phase come one after the other. */
export const lossCharts = (all: ReadonlyArray<ChartData>): ReadonlyArray<Chart> => {
  const phases = [...new Set(all.flatMap(({ losses }) => losses.map(({ phase }) => phase)))]
  return phases.flatMap((phase) =>
    all.flatMap((data, i) =>
      data.losses
        .filter((curves) => curves.phase === phase)
        .map(
          ({ epoch, terms }): Chart => ({
            id: idOf("loss", phase, ...(all.length > 1 ? [i + 1] : [])),
            title: `Losses of ${all.length > 1 ? `${data.run.label}, ` : ""}${phase}`,
            about:
              "Each term before its weight, mean of the networks; total as it is minimised, weights and networks summed.",
            kind: "lines",
            x: { label: "epoch", values: epoch, digits: 2 },
            y: { label: "loss", digits: 4, fromZero: true },
            series: [...terms].map(([term, values], colour) => ({ name: termNames[term] ?? term, colour, values }))
          })
        )
    )
  )
}

/** How far teachers are from their students, and the two networks from each other. */
export const teacherCharts = (all: ReadonlyArray<ChartData>): ReadonlyArray<Chart> => {
  const entries = entriesOf(all)
  const distances = entries.flatMap((entry) =>
    entry.data.teachers.filter(({ adaptation }) => adaptation === entry.adaptation).map((own) => ({ ...entry, own }))
  )
  const epochs = unionOf(distances.map(({ own }) => own.epochs))
  if (distances.length === 0) return []
  return [
    {
      id: "teacher-distance",
      title: "Teachers from their students",
      about: "Distance of a teacher's weights from its student's, relative to the student's norm, after each epoch.",
      kind: "lines",
      x: { label: "epoch", values: epochs, digits: 0 },
      y: { label: "‖teacher − student‖ / ‖student‖, %", digits: 2, fromZero: true },
      series: distances.flatMap(({ colour, name, own }) =>
        own.pairs.map((pair, i) => ({
          name: `${name} ${i + 1}`,
          colour: distances.length === 1 ? i : colour,
          values: at(
            epochs,
            own.epochs,
            pair.map((value) => 100 * value)
          )
        }))
      )
    }
  ]
}
