/** `metrics`: the scores of an evaluation by name; and `ranking`: what each query found. */
import { Schema } from "effect"
import { artifact } from "./artifact.ts"
import { bool, float32, float64, int32, utf8 } from "./column.ts"

export const metrics = artifact(
  "metrics",
  {
    /** mAP, top-1, top-5, top-10, … and `queries`, the number of valid ones. */
    name: utf8,
    value: float64
  },
  {}
)

export const ranking = artifact(
  "ranking",
  {
    query: utf8,
    /** From 1; junk (the query's own identity on its own camera) is left out before counting. */
    rank: int32,
    gallery: utf8,
    /** Squared Euclidean. */
    distance: float32,
    match: bool
  },
  {
    /** Ranks kept of each query; its matches are kept at any rank, so that AP can be recomputed from the rows. */
    depth: Schema.FiniteFromString
  }
)
