/** The charts of a report, from what was read of its runs. */
import { mainAdaptation } from "#pipeline/task-plan.ts"
import { type Chart, reference, type Series } from "#report/chart.ts"
import type { Clustering, Clusterings } from "#report/clusterings.ts"
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
interface Entry {
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
const unionOf = (all: ReadonlyArray<ReadonlyArray<number>>) => [...new Set(all.flat())].sort((a, b) => a - b)

/** Values at these x; NaN where the curve has none. */
const at = (xs: ReadonlyArray<number>, own: ReadonlyArray<number>, values: ReadonlyArray<number | undefined>) => {
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

const termNames: Readonly<Record<string, string>> = {
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

interface ClusterEntry extends Entry {
  readonly epochs: ReadonlyArray<Clustering>
}

const clusterChart = (
  entries: ReadonlyArray<ClusterEntry>,
  chart: Pick<Chart, "id" | "title" | "about" | "y">,
  value: (clustering: Clustering) => number | undefined
): Chart => {
  const epochs = unionOf(entries.map((entry) => entry.epochs.map(({ epoch }) => epoch)))
  const series = entries.map(({ colour, epochs: own, name }) => ({
    name,
    colour,
    values: at(
      epochs,
      own.map(({ epoch }) => epoch),
      own.map(value)
    )
  }))
  return { ...chart, kind: "lines", x: { label: "epoch", values: epochs, digits: 0 }, series }
}

const percent = (share: number | undefined) => (share === undefined ? undefined : 100 * share)

const median = (sorted: ReadonlyArray<number>) => {
  const middle = sorted.length / 2
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** How many clusters of the last epoch have each size; the sizes in bins of about a twentieth of the largest. */
const sizeChart = (entries: ReadonlyArray<ClusterEntry>): Chart => {
  const last = entries.map((entry) => ({ ...entry, sizes: entry.epochs.at(-1)!.sizes }))
  const most = Math.max(...last.flatMap(({ sizes }) => sizes))
  const width = Math.max(1, Math.ceil(most / 24))
  const bins = Array.from({ length: Math.floor(most / width) + 1 }, (_, i) => i)
  return {
    id: "cluster-size-histogram",
    title: "Cluster sizes in the last epoch",
    about:
      width === 1
        ? "Clusters of each size."
        : `Clusters by size, in bins of ${width} images; a bin is named by its middle.`,
    kind: "bars",
    x: {
      label: "images in a cluster",
      values: bins.map((i) => i * width + (width - 1) / 2),
      digits: width % 2 ? 0 : 1
    },
    y: { label: "clusters", digits: 0 },
    series: last.map(({ colour, name, sizes }) => ({
      name,
      colour,
      values: bins.map((i) => sizes.filter((size) => Math.floor(size / width) === i).length)
    }))
  }
}

/** Number, size, purity and NMI of the clusters by epoch, and how many images changed theirs. */
export const clusterCharts = (all: ReadonlyArray<ChartData>): ReadonlyArray<Chart> => {
  const entries = entriesOf(all).flatMap((entry) => {
    const own = entry.data.clusterings.find(({ adaptation }) => adaptation === entry.adaptation)
    return own ? [{ ...entry, epochs: own.epochs }] : []
  })
  if (entries.length === 0) return []
  const outliers = entries.some(({ epochs }) => epochs.some(({ outliers: count }) => count > 0))
  return [
    clusterChart(
      entries,
      {
        id: "cluster-purity",
        title: "Purity of the clusters",
        about:
          "Share of the images in a cluster where their identity is the most frequent. Identities are read for this chart alone.",
        y: { label: "purity, %", digits: 1 }
      },
      ({ purity }) => percent(purity)
    ),
    clusterChart(
      entries,
      {
        id: "cluster-nmi",
        title: "NMI of clusters and identities",
        about: "Mutual information over the mean of both entropies; 1 where clusters are the identities.",
        y: { label: "NMI", digits: 3 }
      },
      ({ nmi }) => nmi
    ),
    clusterChart(
      entries,
      {
        id: "label-churn",
        title: "Label churn",
        about: "Images outside the cluster that took most of the images of their cluster of the epoch before.",
        y: { label: "images, %", digits: 1, fromZero: true }
      },
      ({ moved }) => percent(moved)
    ),
    clusterChart(
      entries,
      {
        id: "cluster-count",
        title: "Number of clusters",
        about: "Clusters with at least one image.",
        y: { label: "clusters", digits: 0, fromZero: true }
      },
      ({ clusters }) => clusters
    ),
    ...(outliers
      ? [
          clusterChart(
            entries,
            {
              id: "cluster-outliers",
              title: "Outliers",
              about: "Images that belong to no cluster and take no part in the epoch.",
              y: { label: "images, %", digits: 1, fromZero: true }
            },
            ({ images, outliers: count }) => (100 * count) / images
          )
        ]
      : []),
    clusterChart(
      entries,
      {
        id: "cluster-size",
        title: "Median size of a cluster",
        about: "Images of the cluster in the middle by size.",
        y: { label: "images", digits: 1, fromZero: true }
      },
      ({ sizes }) => (sizes.length > 0 ? median(sizes) : undefined)
    ),
    sizeChart(entries)
  ]
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
