/** Pooling with PyTorch's geometry, on images in TensorFlow's layout (NHWC). */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { bordered } from "#engine/border.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"

/** Max pooling of a square window; the border is padded with the lowest float, as PyTorch's MaxPool2d does. */
export const maxPool2d = (
  tf: TensorFlow,
  x: tfjs.Tensor4D,
  window: number,
  stride: number,
  padding: number
): tfjs.Tensor4D => tf.maxPool(bordered(tf, x, padding, -3.4028234663852886e38), window, stride, "valid")

/** Each channel's average [N, C] over a map [N, h, w, C]. */
export const averagePool = (tf: TensorFlow, map: tfjs.Tensor4D): tfjs.Tensor2D => {
  const [n, h, w, channels] = map.shape
  // tfjs's own gradient multiplies with a constant of the map's size.
  const op = tf.customGrad((x) => ({
    value: tf.mean(x as tfjs.Tensor4D, [1, 2]),
    gradFunc: (dy) => tf.tile(tf.reshape(tf.div(dy, h * w), [n, 1, 1, channels]), [1, h, w, 1])
  }))
  return op(map) as tfjs.Tensor2D
}
