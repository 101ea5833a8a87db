/**
 * Candidates for the nearest neighbours of each of many points, by blocks of rows on the engine: a block's products with all
 * points are there only until its largest are taken, so the memory is that of two blocks, whatever the number of points.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { Effect } from "effect"
import { compile } from "#engine/compile.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"
import type { Points } from "#model/distance-blocks.ts"

export interface Candidates {
  /** Points a row. */
  readonly count: number
  /** Row-major, rows × count, nearest first as far as float32 tells: the point itself among them, as a rule. */
  readonly indices: Int32Array
  /** Of each row the point farthest from it, where it is asked for. */
  readonly farthest: Int32Array | undefined
}

/** Distances that are held at once by each of two blocks; fewer make the matrix product slow. */
const blockDistances = 2 ** 25

/** Blocks that a call works on, side by side. */
const sideBySide = 2

/** `count` candidates of each point. `onRows` hears how many rows are done. */
export const nearestCandidates = Effect.fn("nearestCandidates")(function* (
  tf: TensorFlow,
  { values, rows, dimension }: Points,
  count: number,
  withFarthest: boolean,
  onRows: (done: number) => void
) {
  const most = Math.max(1, Math.floor(blockDistances / rows))
  const height = Math.ceil(rows / (sideBySide * Math.ceil(rows / (sideBySide * most))))
  const names = Array.from({ length: sideBySide }, (_, i) => String(i))
  const variables = yield* Effect.acquireRelease(
    Effect.sync(() =>
      tf.tidy(() => {
        const points = tf.tensor2d(values, [rows, dimension])
        // A further column, which the product with a 1 adds on its way: an op of its own takes as long as a tenth of the product.
        const halfNorms = tf.mul(-0.5, tf.sum(tf.square(points), 1, true)) as tfjs.Tensor2D
        return [tf.variable(tf.concat([points, halfNorms], 1))]
      })
    ),
    (declared) => Effect.sync(() => tf.dispose(declared))
  )
  const [points] = variables as ReadonlyArray<tfjs.Tensor> as readonly [tfjs.Tensor2D]
  const program = yield* compile(tf, variables, {
    nearest: {
      inputs: Object.fromEntries(names.map((name) => [name, { shape: [height, dimension], dtype: "float32" }])),
      step: (blocks) => {
        const outputs = names.map((name) => {
          const block = tf.concat([blocks[name] as tfjs.Tensor2D, tf.ones<tfjs.Rank.R2>([height, 1])], 1)
          // xy − ‖y‖²/2 is greatest where ‖x − y‖² is least.
          const nearness = tf.matMul(block, points, false, true)
          const nearest = [`nearest ${name}`, tf.topk(nearness, count, true).indices] as const
          return withFarthest ? [nearest, [`farthest ${name}`, tf.argMin(nearness, 1)] as const] : [nearest]
        })
        return Object.fromEntries(outputs.flat())
      }
    }
  })
  program.load(variables)
  const indices = new Int32Array(new SharedArrayBuffer(rows * count * 4))
  const farthest = withFarthest ? new Int32Array(rows) : undefined
  /** The rows of a block; after the last point, zeros. */
  const block = (start: number) => {
    const inside = values.subarray(start * dimension, Math.min(rows, start + height) * dimension)
    if (inside.length === height * dimension) return inside
    const padded = new Float32Array(height * dimension)
    padded.set(inside)
    return padded
  }
  for (let start = 0; start < rows; start += sideBySide * height) {
    const startOf = (name: string) => start + Number(name) * height
    const found = program.run("nearest", Object.fromEntries(names.map((name) => [name, block(startOf(name))])))
    for (const name of names) {
      const inside = Math.max(0, Math.min(height, rows - startOf(name)))
      indices.set(found[`nearest ${name}`]!.subarray(0, inside * count), startOf(name) * count)
      farthest?.set(found[`farthest ${name}`]!.subarray(0, inside), startOf(name))
    }
    onRows(Math.min(rows, start + sideBySide * height))
    yield* Effect.yieldNow
  }
  return { count, indices, farthest } satisfies Candidates
}, Effect.scoped)
