/**
 * Distances of many rows to a few centroids, as a compiled step. The rows stay in the engine's session, in blocks of one
 * size that the cores take side by side; so the values do not depend on the number of cores.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { Effect } from "effect"
import { compile } from "#engine/compile.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"

export interface Points {
  /** Row-major, rows × dimension. */
  readonly values: Float32Array
  readonly rows: number
  readonly dimension: number
}

/** A block of the points [rows, dimension], and their squared norms [rows, 1]. */
interface Block {
  readonly points: tfjs.Tensor2D
  readonly norms: tfjs.Tensor2D
}

// Bounds the memory of the distances; fewer rows are too little work for a call of an op.
const blockRows = 1024

const squaredNorms = (tf: TensorFlow, x: tfjs.Tensor2D): tfjs.Tensor2D => tf.sum(tf.square(x), 1, true)

/** Squared distances [rows, centroids] but for ‖x‖², which is the same for all centroids of a row. */
const relativeDistances = (tf: TensorFlow, { points }: Block, centroids: tfjs.Tensor2D): tfjs.Tensor2D => {
  // Doubling is exact: the centroids, which are few, are doubled in place of the products.
  const products = tf.matMul(points, tf.mul<tfjs.Tensor2D>(2, centroids), false, true)
  return tf.sub(tf.transpose(squaredNorms(tf, centroids)), products)
}

const declareBlocks = (tf: TensorFlow, { values, rows, dimension }: Points) =>
  tf.tidy(() =>
    Array.from({ length: Math.ceil(rows / blockRows) }, (_, i) => {
      const part = values.subarray(i * blockRows * dimension, (i + 1) * blockRows * dimension)
      const points = tf.tensor2d(part, [part.length / dimension, dimension])
      return [tf.variable(points), tf.variable(squaredNorms(tf, points))] as const
    })
  )

/** `step` of every block, compiled to one function from centroids [count × dimension] to the values of all blocks in order. */
const overBlocks = <V extends Float32Array | Int32Array>(
  tf: TensorFlow,
  points: Points,
  count: number,
  step: (block: Block, centroids: tfjs.Tensor2D) => tfjs.Tensor
) =>
  Effect.acquireUseRelease(
    Effect.sync(() => declareBlocks(tf, points)),
    (blocks) =>
      Effect.gen(function* () {
        const variables: ReadonlyArray<tfjs.Variable> = blocks.flat()
        const program = yield* compile(tf, variables, {
          distances: {
            inputs: { centroids: { shape: [count, points.dimension], dtype: "float32" } },
            step: ({ centroids }) => {
              const parts = blocks.map(([x, norms]) =>
                step(
                  { points: x as tfjs.Tensor as tfjs.Tensor2D, norms: norms as tfjs.Tensor as tfjs.Tensor2D },
                  centroids as tfjs.Tensor2D
                )
              )
              return { values: tf.concat(parts, 0) }
            }
          }
        })
        program.load(variables)
        return (centroids: Float32Array) => program.run("distances", { centroids }).values as V
      }),
    (blocks) => Effect.sync(() => tf.dispose(blocks))
  )

/** From as many centroids to the nearest one of each point. Freed with the scope. */
export const nearestAmong = (tf: TensorFlow, points: Points, count: number) =>
  overBlocks<Int32Array<ArrayBuffer>>(tf, points, count, (block, centroids) =>
    tf.argMin(relativeDistances(tf, block, centroids), 1)
  )

/** From as many centroids to the squared distances [points, centroids] of all points to them. Freed with the scope. */
export const squaredDistancesTo = (tf: TensorFlow, points: Points, count: number) =>
  overBlocks<Float32Array>(tf, points, count, (block, centroids) =>
    tf.maximum(tf.add(relativeDistances(tf, block, centroids), block.norms), 0)
  )
