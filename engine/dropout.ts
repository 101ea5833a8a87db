/** Dropout whose mask follows from a seed alone, so that a compiled step draws a new one from each seed that it is given. */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { runOp } from "#engine/op.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"

const types = { dtype: { type: "float32" }, T: { type: "int32" }, Tseed: { type: "int32" } } as const

/**
 * Sets each value of `x` to 0 with the given probability (below 1) and divides the others by 1 − probability, as PyTorch's
 * `nn.Dropout`. `seed` [2] int32.
 */
export const dropout = <T extends tfjs.Tensor>(tf: TensorFlow, x: T, probability: number, seed: tfjs.Tensor1D): T => {
  const [draws] = runOp(tf, "StatelessRandomUniform", types, [tf.tensor1d(x.shape, "int32"), seed], 1)
  const kept = tf.cast(tf.greaterEqual(draws, probability), "float32")
  return tf.mul(x, tf.div(kept, 1 - probability)) as T
}
