/** The clusters of a target without labels, epoch by epoch. */
import { count } from "#cli/progress.ts"
import { table } from "#cli/table.ts"
import { type Clustering, sizeSummary } from "#pipeline/clusterings.ts"

/** A row for each epoch of each adaptation. */
export const clusterTable = (rows: ReadonlyArray<Clustering>): string =>
  `${table(
    ["target clusters", "clusters", "smallest", "median", "largest", "outliers", "moved", "NMI"],
    rows.map((clustering) => {
      const { name, epoch, outliers, moved, nmi } = clustering
      const { clusters, smallest, median, largest } = sizeSummary(clustering)
      return [
        `${name}, epoch ${epoch}`,
        ...[clusters, smallest].map(count),
        String(median),
        ...[largest, outliers].map(count),
        moved === undefined ? "" : `${(100 * moved).toFixed(1)} %`,
        nmi === undefined ? "" : nmi.toFixed(3)
      ]
    })
  )}\nsizes in images; moved: images that left their cluster since the epoch before, clusters matched one to one; NMI with it is 1 where none did`
