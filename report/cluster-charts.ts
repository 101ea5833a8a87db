/** The charts of the clusters: how many, how large, how pure, and how many images changed theirs. */
import { type Clustering, sizeSummary } from "#pipeline/clusterings.ts"
import type { Chart } from "#report/chart.ts"
import { at, type ChartData, type Entry, entriesOf, unionOf } from "#report/charts.ts"

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
          "Share of the images in a cluster where their identity is the most frequent; outliers are left out. Identities are read for this chart alone.",
        y: { label: "purity, %", digits: 1 }
      },
      ({ identity }) => percent(identity?.purity)
    ),
    clusterChart(
      entries,
      {
        id: "cluster-nmi",
        title: "NMI of clusters and identities",
        about:
          "Mutual information over the mean of both entropies; 1 where clusters are the identities. Outliers are left out.",
        y: { label: "NMI", digits: 3 }
      },
      ({ identity }) => identity?.nmi
    ),
    clusterChart(
      entries,
      {
        id: "label-churn",
        title: "Label churn",
        about:
          "Images that left their cluster of the epoch before; clusters are matched one to one, the largest overlap first, and outliers with outliers.",
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
      ({ sizes }) => sizes.length
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
      (clustering) => (clustering.sizes.length > 0 ? sizeSummary(clustering).median : undefined)
    ),
    sizeChart(entries)
  ]
}
