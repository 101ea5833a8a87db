/** The clusters of each epoch, beside the identities of the target's training images where they are known. */
import { Effect } from "effect"
import { type Clustering, clusteringsOf } from "#pipeline/clusterings.ts"
import { decodedImages, type RunData } from "#report/run-data.ts"

export interface Clusterings {
  readonly adaptation: string
  readonly epochs: ReadonlyArray<Clustering>
}

/** The clusterings of each adaptation, of those that have clustered. */
export const clusterings = Effect.fn("clusterings")(function* (run: RunData) {
  const decoded = yield* decodedImages(run, "target-train")
  const identities = new Map((decoded?.rows ?? []).map(({ image, person }) => [image, person]))
  const rows = yield* clusteringsOf(run.config, run.folder, run.records, identities)
  return [...Map.groupBy(rows, ({ name }) => name)].map(([adaptation, epochs]): Clusterings => ({ adaptation, epochs }))
})
