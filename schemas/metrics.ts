/** `metrics`: the scores of an evaluation by name; and `ranking`: what each query found. */
import type { RecordBatch } from "apache-arrow"
import { Schema } from "effect"
import { artifact, batchOf } from "./artifact.ts"
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
    /** Squared Euclidean, or with `rerank` that mixed with the Jaccard distance. */
    distance: float32,
    match: bool
  },
  {
    /** Ranks kept of each query; its matches are kept at any rank, so that AP can be recomputed from the rows. */
    depth: Schema.FiniteFromString
  }
)

/** Scores by name as a batch. */
export const metricsBatch = (scores: ReadonlyArray<readonly [name: string, value: number]>): RecordBatch =>
  batchOf(metrics, { name: scores.map(([name]) => name), value: Float64Array.from(scores, ([, value]) => value) }, {})

/** A row of `ranking`. */
export interface RankingRow {
  readonly query: string
  readonly rank: number
  readonly gallery: string
  readonly distance: number
  readonly match: boolean
}

/** What queries found, with `depth` ranks of each, as a batch. */
export const rankingBatch = (rows: ReadonlyArray<RankingRow>, depth: number): RecordBatch =>
  batchOf(
    ranking,
    {
      query: rows.map((row) => row.query),
      rank: Int32Array.from(rows, (row) => row.rank),
      gallery: rows.map((row) => row.gallery),
      distance: Float32Array.from(rows, (row) => row.distance),
      match: rows.map((row) => row.match)
    },
    { depth }
  )
