/** The worker thread of k-reciprocal encoding: one step of it on some rows. */
import { averageRows, type EncodingSettings, encodeRows, jaccardRows } from "#model/k-reciprocal.ts"
import { type NormedPoints, normRows, type RankLists, rankRows } from "#model/rank-lists.ts"
import type { SparsePart, SparseRows } from "#model/sparse-rows.ts"

/** What a step reads, all of it in shared memory; `norms` and `rank` fill in what they are given. */
export type RowStep =
  | { readonly step: "norms"; readonly points: NormedPoints }
  | {
      readonly step: "rank"
      readonly points: NormedPoints
      readonly candidates: Parameters<typeof rankRows>[1]
      readonly lists: RankLists
    }
  | {
      readonly step: "encode"
      readonly points: NormedPoints
      readonly lists: RankLists
      readonly settings: EncodingSettings
    }
  | {
      readonly step: "average"
      readonly rows: SparseRows
      readonly lists: RankLists
      readonly settings: EncodingSettings
    }
  | { readonly step: "jaccard"; readonly rows: SparseRows; readonly inverse: SparseRows; readonly limit: number }

export interface RowJob {
  readonly work: RowStep
  readonly from: number
  readonly to: number
}

const nothing: SparsePart = { lengths: new Int32Array(0), columns: new Int32Array(0), values: new Float32Array(0) }

/** The rows that a step makes; none of `norms` and `rank`. */
export const workOnRows = ({ work, from, to }: RowJob): SparsePart => {
  switch (work.step) {
    case "norms":
      normRows(work.points, from, to)
      return nothing
    case "rank":
      rankRows(work.points, work.candidates, work.lists, from, to)
      return nothing
    case "encode":
      return encodeRows(work.points, work.lists, work.settings, from, to)
    case "average":
      return averageRows(work.rows, work.lists, work.settings, from, to)
    case "jaccard":
      return jaccardRows(work.rows, work.inverse, work.limit, from, to)
  }
}

export default workOnRows
