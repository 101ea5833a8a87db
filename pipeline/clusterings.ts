/** What a run's pseudo labels are like, which is all there is to look at where the target has no labels to score by. */
import { join } from "node:path"
import { Effect, Stream } from "effect"
import { clusterAgreement } from "#model/cluster-agreement.ts"
import { inletOf } from "#pipeline/arrow-file.ts"
import { readManifest } from "#pipeline/manifest.ts"
import { adaptations } from "#pipeline/plan.ts"
import type { RunConfig } from "#pipeline/run-file.ts"
import { currentRecords, NoScores } from "#pipeline/score.ts"
import { folderOf } from "#pipeline/task-plan.ts"
import { viewOf } from "#schemas/artifact.ts"
import { pseudoLabels } from "#schemas/pseudo-labels.ts"

/** The clusters of the target's training images in one epoch; sizes in images. */
export interface Clustering {
  /** Of the adaptation. */
  readonly name: string
  readonly epoch: number
  readonly images: number
  readonly clusters: number
  readonly smallest: number
  readonly median: number
  readonly largest: number
  /** Images in no cluster. */
  readonly outliers: number
  /** Share of the images that left their cluster since the epoch before; none for the first. */
  readonly moved?: number
  /** Normalised mutual information with the epoch before. */
  readonly nmi?: number
}

const labelsOf = (files: ReadonlyArray<string>) =>
  Effect.map(
    Stream.runCollect(inletOf(pseudoLabels, files).batches),
    (batches) =>
      new Map(
        batches.flatMap((batch) => {
          const { image, label } = viewOf(pseudoLabels, batch)
          return image.map((name, row) => [name, label[row]!] as const)
        })
      )
  )

const sizesOf = (labels: ReadonlyArray<number>) => {
  const sizes = Map.groupBy(labels, (label) => label)
  const outliers = sizes.get(-1)?.length ?? 0
  sizes.delete(-1)
  const sorted = [...sizes.values()].map(({ length }) => length).sort((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  const median = ((sorted[Math.floor(middle)] ?? 0) + (sorted[Math.ceil(middle)] ?? 0)) / 2
  return { clusters: sorted.length, smallest: sorted[0] ?? 0, median, largest: sorted.at(-1) ?? 0, outliers }
}

/** The clusterings that a run has made so far by the settings of its run file: of each adaptation, epoch by epoch. */
export const clusterings = Effect.fn("clusterings")(function* (config: RunConfig, folder: string) {
  const current = yield* currentRecords(config, yield* readManifest(folder))
  const rows: Array<Clustering> = []
  for (const [name, { epochs }] of adaptations(config)) {
    let before: ReadonlyMap<string, number> | undefined
    for (let epoch = 1; epoch <= epochs; epoch++) {
      const files = current.get(folderOf(name, "cluster", epoch))?.outputs["pseudo-labels"]?.files
      if (files === undefined) break
      const labels = yield* labelsOf(files.map(({ path }) => join(folder, path)))
      const now = [...labels.values()]
      const own: Clustering = { name, epoch, images: now.length, ...sizesOf(now) }
      if (before === undefined) rows.push(own)
      else {
        const { moved, nmi } = clusterAgreement(
          [...labels.keys()].map((image) => before!.get(image) ?? -1),
          now
        )
        rows.push({ ...own, moved: moved / now.length, nmi })
      }
      before = labels
    }
  }
  return rows.length > 0
    ? rows
    : yield* new NoScores({ folder, problem: "nothing is clustered in it yet by its run.yaml" })
})
