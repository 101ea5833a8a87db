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

/** Values of a digit of 11 bits. */
const digit = 2048

/** Rows by ascending distance, equal ones in the order given: three passes over digits of 11 bits are faster than comparing. */
const ascending = (rows: Int32Array, distances: Float32Array): Int32Array => {
  const keys = new Uint32Array(distances.length)
  const value = new Float32Array(1)
  const bits = new Int32Array(value.buffer)
  // As unsigned numbers these order as the distances do: negative ones have all their bits turned over, others the sign; −0 is 0.
  for (let row = 0; row < keys.length; row++) {
    value[0] = distances[row]! + 0
    keys[row] = bits[0]! < 0 ? ~bits[0]! : bits[0]! ^ 0x80000000
  }
  let [from, to]: [Int32Array, Int32Array] = [rows, new Int32Array(rows.length)]
  for (const shift of [0, 11, 22]) {
    const places = new Int32Array(digit + 1)
    for (let i = 0; i < from.length; i++) places[((keys[from[i]!]! >>> shift) % digit) + 1]!++
    for (let d = 1; d < digit; d++) places[d]! += places[d - 1]!
    for (let i = 0; i < from.length; i++) to[places[(keys[from[i]!]! >>> shift) % digit]!++] = from[i]!
    ;[from, to] = [to, from]
  }
  return from
}

/** Ranks the gallery for one query. Junk are gallery images of its own person on its own camera. */
export const rankGallery = (
  person: number,
  camera: number,
  gallery: Pick<Embedded, "person" | "camera">,
  distances: Float32Array
): QueryRanking => {
  const valid = new Int32Array(distances.length)
  let count = 0
  for (let row = 0; row < valid.length; row++)
    if (gallery.person[row] !== person || gallery.camera[row] !== camera) valid[count++] = row
  const order = ascending(valid.subarray(0, count), distances)
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
