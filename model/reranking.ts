/**
 * Re-ranking with k-reciprocal encoding (Zhong et al., CVPR 2017): distances of queries to the gallery, mixed with their
 * Jaccard distances. Sources: OpenUnReID `apis/test.py`; the classic script, `utils/rerank.py` of the original MMT code.
 */
import { Effect, Schema } from "effect"
import type { TensorFlow } from "#engine/tensorflow.ts"
import type { Points } from "#model/distance-blocks.ts"
import { type Encoded, encodePoints, type OnShare } from "#model/jaccard.ts"
import { jaccardRows } from "#model/k-reciprocal.ts"

const PositiveInt = Schema.Int.check(Schema.isGreaterThan(0))

/** Settings of the re-ranking. */
export const Reranking = Schema.Struct({
  /** How neighbours are listed and weighted: as OpenUnReID does, or the classic script. */
  encoding: Schema.Literals(["openunreid", "official"]),
  k1: PositiveInt,
  k2: PositiveInt,
  /** λ: share of the original distance. */
  lambda: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))
})
export type Reranking = typeof Reranking.Type

/**
 * Of queries and gallery, encoded together, a function that replaces squared distances [queries from … to, gallery] by
 * (1 − λ)·Jaccard + λ·distance. The original distance is the squared one (`openunreid`), or the squared one divided by the
 * query's largest to any image (`official`). What is held grows with images × neighbours.
 */
export const reranking = Effect.fn("reranking")(function* (
  tf: TensorFlow,
  queries: Points,
  gallery: Points,
  { lambda, ...settings }: Reranking,
  onShare: OnShare
) {
  const { dimension } = gallery
  const values = new Float32Array(queries.values.length + gallery.values.length)
  values.set(queries.values)
  values.set(gallery.values, queries.values.length)
  const points = { values, rows: queries.rows + gallery.rows, dimension }
  const encoded: Encoded = yield* encodePoints(tf, points, settings, onShare)
  return (distances: Float32Array, from: number, to: number): void => {
    // Queries come before the gallery, so a query finds all of the gallery among the later ones.
    const { lengths, columns, values: jaccard } = jaccardRows(encoded.rows, encoded.inverse, 1, from, to)
    let at = 0
    for (let row = 0; row < to - from; row++) {
      const own = distances.subarray(row * gallery.rows, (row + 1) * gallery.rows)
      const share = lambda / encoded.scales[from + row]!
      for (let i = 0; i < own.length; i++) own[i] = 1 - lambda + share * own[i]!
      for (const end = at + lengths[row]!; at < end; at++) {
        const image = columns[at]! - queries.rows
        if (image >= 0) own[image]! -= (1 - lambda) * (1 - jaccard[at]!)
      }
    }
  }
})
