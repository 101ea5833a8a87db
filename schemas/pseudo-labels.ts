/** `pseudo-labels`: the cluster of each image; and `centroids`: the clusters themselves. */
import { Schema } from "effect"
import { artifact } from "./artifact.ts"
import { int32, utf8, vector } from "./column.ts"

export const pseudoLabels = artifact(
  "pseudo-labels",
  {
    image: utf8,
    /** 0 … classes − 1; −1 marks an outlier, which takes no part in the epoch. */
    label: int32
  },
  {
    classes: Schema.optionalKey(Schema.FiniteFromString),
    /** Of DBSCAN: the radius. */
    eps: Schema.optionalKey(Schema.FiniteFromString),
    /** Of DBSCAN with the reliability criterion: the independence that a cluster needs. */
    independence: Schema.optionalKey(Schema.FiniteFromString)
  }
)

export const centroids = artifact("centroids", { label: int32, size: int32, centroid: vector }, {})
