/** The clusters of each epoch: how many, how large, how pure, and how many images changed theirs. */
import { Effect } from "effect"
import { agreement } from "#model/partition.ts"
import { adaptations } from "#pipeline/plan.ts"
import { folderOf } from "#pipeline/task-plan.ts"
import { decodedImages, filesOf, type RunData, readViews } from "#report/run-data.ts"
import { pseudoLabels } from "#schemas/pseudo-labels.ts"

/** The clusters of one epoch. Shares are from 0 to 1. */
export interface Clustering {
  readonly epoch: number
  readonly images: number
  readonly clusters: number
  readonly outliers: number
  /** Images of each cluster, ascending. */
  readonly sizes: ReadonlyArray<number>
  /** Against the identities, where they are known. */
  readonly purity: number | undefined
  readonly nmi: number | undefined
  /** Share of the images outside the cluster that took most of their old one; undefined in the first epoch. */
  readonly moved: number | undefined
  /** With the clusters of the epoch before. */
  readonly nmiBefore: number | undefined
}

export interface Clusterings {
  readonly adaptation: string
  readonly epochs: ReadonlyArray<Clustering>
}

/** Pseudo labels by image. */
export type Labels = ReadonlyMap<string, number>

/** The pseudo labels of one epoch; undefined where it is not clustered. */
export const labelsOf = Effect.fnUntraced(function* (run: RunData, adaptation: string, epoch: number) {
  const views = yield* readViews(pseudoLabels, filesOf(run, folderOf(adaptation, "cluster", epoch), "pseudo-labels"))
  if (views.length === 0) return undefined
  return new Map(views.flatMap(({ image, label }) => image.map((name, row) => [name, label[row]!] as const)))
})

/** Identities of the target's training images; what no one knows (junk, a folder without names) is −1. */
export const identitiesOf = Effect.fnUntraced(function* (run: RunData) {
  const decoded = yield* decodedImages(run, "target-train")
  return new Map((decoded?.rows ?? []).map(({ image, person }) => [image, person > 0 ? person : -1]))
})

const sizesOf = (labels: Labels) => {
  const counts = new Map<number, number>()
  for (const label of labels.values()) if (label >= 0) counts.set(label, (counts.get(label) ?? 0) + 1)
  return [...counts.values()].sort((a, b) => a - b)
}

const clusteringOf = (
  epoch: number,
  labels: Labels,
  before: Labels | undefined,
  identities: ReadonlyMap<string, number>
): Clustering => {
  const now = Int32Array.from(labels.values())
  const against = (other: ReadonlyMap<string, number>) =>
    Int32Array.from(labels.keys(), (image) => other.get(image) ?? -1)
  const sizes = sizesOf(labels)
  const known = agreement(now, against(identities))
  const change = before && agreement(against(before), now)
  return {
    epoch,
    images: labels.size,
    clusters: sizes.length,
    outliers: labels.size - sizes.reduce((a, b) => a + b, 0),
    sizes,
    purity: known?.purity,
    nmi: known?.nmi,
    moved: change && 1 - change.purity,
    nmiBefore: change?.nmi
  }
}

/** The clusterings of each adaptation, of those that have clustered. */
export const clusterings = Effect.fn("clusterings")(function* (run: RunData) {
  const identities = yield* identitiesOf(run)
  const all: Array<Clusterings> = []
  for (const [adaptation, settings] of adaptations(run.config)) {
    const epochs: Array<Clustering> = []
    let before: Labels | undefined
    for (let epoch = 1; epoch <= settings.epochs; epoch++) {
      const labels = yield* labelsOf(run, adaptation, epoch)
      if (labels === undefined) continue
      epochs.push(clusteringOf(epoch, labels, before, identities))
      before = labels
    }
    if (epochs.length > 0) all.push({ adaptation, epochs })
  }
  return all
})
