/**
 * Retrieval scores by Market-1501's protocol: for each query the gallery by distance, without the junk; mAP and CMC.
 * Source: OpenUnReID `core/metrics/rank.py`, the original code's `evaluation_metrics/ranking.py`.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import type { TensorFlow } from "#engine/tensorflow.ts"

/** Images with their embeddings, row-major. */
export interface Embedded {
  readonly image: ReadonlyArray<string>
  readonly person: Int32Array
  readonly camera: Int32Array
  readonly embedding: Float32Array
}

/** What one query found: gallery rows by ascending distance, the junk left out. */
export interface QueryRanking {
  readonly order: Int32Array
  /** 1-based ranks of the true matches. */
  readonly matches: ReadonlyArray<number>
  /** Mean of the precision at each true match; undefined without any, and then the query does not count. */
  readonly averagePrecision: number | undefined
}

/** Squared Euclidean distances [queries, gallery]: ‖q‖² + ‖g‖² − 2qg. */
export const squaredDistances = (tf: TensorFlow, query: tfjs.Tensor2D, gallery: tfjs.Tensor2D): tfjs.Tensor2D => {
  const norms = (x: tfjs.Tensor2D) => tf.sum(tf.square(x), 1, true)
  const sum = tf.add(norms(query), tf.transpose(norms(gallery)))
  return tf.sub(sum, tf.mul(2, tf.matMul(query, gallery, false, true)))
}

/** Ranks the gallery for one query. Junk are gallery images of its own person on its own camera. */
export const rankGallery = (
  person: number,
  camera: number,
  gallery: Pick<Embedded, "person" | "camera">,
  distances: Float32Array
): QueryRanking => {
  const valid: Array<number> = []
  for (let row = 0; row < distances.length; row++)
    if (gallery.person[row] !== person || gallery.camera[row] !== camera) valid.push(row)
  const order = Int32Array.from(valid).sort((a, b) => distances[a]! - distances[b]! || a - b)
  const matches: Array<number> = []
  let precisions = 0
  for (let rank = 1; rank <= order.length; rank++)
    if (gallery.person[order[rank - 1]!] === person) precisions += matches.push(rank) / rank
  return { order, matches, averagePrecision: matches.length > 0 ? precisions / matches.length : undefined }
}

/** mAP and the share of valid queries whose first match is at rank ≤ k, for each k. */
export const scores = (rankings: ReadonlyArray<Omit<QueryRanking, "order">>, ks: ReadonlyArray<number>) => {
  const valid = rankings.filter(({ averagePrecision }) => averagePrecision !== undefined)
  const share = (hit: (ranking: (typeof valid)[number]) => number) =>
    valid.reduce((sum, ranking) => sum + hit(ranking), 0) / valid.length
  return {
    queries: valid.length,
    mAP: share(({ averagePrecision }) => averagePrecision!),
    top: ks.map((k) => share(({ matches }) => (matches[0]! <= k ? 1 : 0)))
  }
}
