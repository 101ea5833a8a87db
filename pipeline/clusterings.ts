/**
 * What a run's pseudo labels are like, epoch by epoch: all there is to look at where the target has no labels to score by.
 * `mmt score` and the report have their numbers from here, `mmt diff` the same comparison from epoch to epoch.
 */
import { join } from "node:path"
import { Effect, Stream } from "effect"
import { clusterAgreement, type IdentityAgreement, identityAgreement } from "#model/cluster-agreement.ts"
import { inletOf } from "#pipeline/arrow-file.ts"
import { readManifest, type TaskRecord } from "#pipeline/manifest.ts"
import { adaptations } from "#pipeline/plan.ts"
import type { RunConfig } from "#pipeline/run-file.ts"
import { currentRecords, NoScores } from "#pipeline/score.ts"
import { folderOf } from "#pipeline/task-plan.ts"
import { viewOf } from "#schemas/artifact.ts"
import { pseudoLabels } from "#schemas/pseudo-labels.ts"

/** The clusters of the target's training images in one epoch. Shares are from 0 to 1. */
export interface Clustering {
  /** Of the adaptation. */
  readonly name: string
  readonly epoch: number
  readonly images: number
  /** Images of each cluster, ascending. */
  readonly sizes: ReadonlyArray<number>
  /** Images in no cluster. */
  readonly outliers: number
  /** Share of the images that left their cluster since the epoch before; undefined for the first. */
  readonly moved: number | undefined
  /** Normalised mutual information with the epoch before. */
  readonly nmi: number | undefined
  /** With the identities, where they are given and known. */
  readonly identity: IdentityAgreement | undefined
}

/** Pseudo labels by image, −1 an outlier. */
export type Labels = ReadonlyMap<string, number>

/** Number and sizes of the clusters; 0 where there is none. */
export const sizeSummary = ({ sizes }: Pick<Clustering, "sizes">) => {
  const middle = (sizes.length - 1) / 2
  const median = ((sizes[Math.floor(middle)] ?? 0) + (sizes[Math.ceil(middle)] ?? 0)) / 2
  return { clusters: sizes.length, smallest: sizes[0] ?? 0, median, largest: sizes.at(-1) ?? 0 }
}

/** The pseudo labels of an adaptation's epoch, among these records of a run's folder; undefined where it is not clustered. */
export const labelsOf = (folder: string, records: ReadonlyMap<string, TaskRecord>, name: string, epoch: number) =>
  Effect.gen(function* () {
    const files = records.get(folderOf(name, "cluster", epoch))?.outputs["pseudo-labels"]?.files
    if (files === undefined) return undefined
    const { batches } = inletOf(
      pseudoLabels,
      files.map(({ path }) => join(folder, path))
    )
    const entries = (yield* Stream.runCollect(batches)).flatMap((batch) => {
      const { image, label } = viewOf(pseudoLabels, batch)
      return image.map((name, row) => [name, label[row]!] as const)
    })
    return new Map(entries) as Labels
  })

const sizesOf = (labels: Labels) => {
  const counts = new Map<number, number>()
  for (const label of labels.values()) if (label >= 0) counts.set(label, (counts.get(label) ?? 0) + 1)
  return [...counts.values()].sort((a, b) => a - b)
}

/** The clusterings among these records: of each adaptation, epoch by epoch; against the identities by image where given. */
export const clusteringsOf = Effect.fn("clusteringsOf")(function* (
  config: RunConfig,
  folder: string,
  records: ReadonlyMap<string, TaskRecord>,
  identities: ReadonlyMap<string, number> = new Map()
) {
  const rows: Array<Clustering> = []
  for (const [name, { epochs }] of adaptations(config)) {
    let before: Labels | undefined
    for (let epoch = 1; epoch <= epochs; epoch++) {
      const labels = yield* labelsOf(folder, records, name, epoch)
      if (labels === undefined) break
      const sizes = sizesOf(labels)
      const change = before && clusterAgreement(before, labels)
      rows.push({
        ...{ name, epoch, images: labels.size, sizes },
        outliers: labels.size - sizes.reduce((a, b) => a + b, 0),
        moved: change && change.moved / change.images,
        nmi: change?.nmi,
        identity: identityAgreement(labels, identities)
      })
      before = labels
    }
  }
  return rows
})

/** The clusterings that a run has made so far by the settings of its run file. Fails where it has none. */
export const clusterings = Effect.fn("clusterings")(function* (config: RunConfig, folder: string) {
  const rows = yield* clusteringsOf(config, folder, yield* currentRecords(config, yield* readManifest(folder)))
  return rows.length > 0
    ? rows
    : yield* new NoScores({ folder, problem: "nothing is clustered in it yet by its run.yaml" })
})
