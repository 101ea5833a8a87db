/** Convolution and pooling with PyTorch's geometry, on images in TensorFlow's layout (NHWC): explicit padding. */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import type { TensorFlow } from "#engine/tensorflow.ts"

/**
 * 2-D convolution without bias. `x` [N, H, W, in], `kernel` [k, k, in, out]; `padding` zeros on each side, as
 * PyTorch's Conv2d pads (TensorFlow's 'same' would pad strided convolutions differently).
 */
export const conv2d = (
  tf: TensorFlow,
  x: tfjs.Tensor4D,
  kernel: tfjs.Tensor4D,
  stride: number,
  padding: number
): tfjs.Tensor4D => {
  if (padding === 0 && kernel.shape[0] === 1 && stride > 1)
    return tf.conv2d(everyNth(tf, x, stride), kernel, 1, "valid")
  if (padding === 0) return tf.conv2d(x, kernel, stride, "valid")
  if (stride === 1 && kernel.shape[0] === 2 * padding + 1) return tf.conv2d(x, kernel, 1, "same")
  return tf.conv2d(padded(tf, x, padding, 0), kernel, stride, "valid")
}

/**
 * Every nth pixel of every nth row. A 1×1 convolution takes no other; given them alone, it keeps clear of oneDNN's gradient by
 * a strided 1×1 kernel, which on a CPU without AVX-512 writes beside its memory where there are less than 8 channels.
 */
const everyNth = (tf: TensorFlow, x: tfjs.Tensor4D, n: number): tfjs.Tensor4D => tf.avgPool(x, 1, n, "valid")

/** Max pooling of a square window; the border is padded with the lowest float, as PyTorch's MaxPool2d does. */
export const maxPool2d = (
  tf: TensorFlow,
  x: tfjs.Tensor4D,
  window: number,
  stride: number,
  padding: number
): tfjs.Tensor4D => tf.maxPool(padded(tf, x, padding, -3.4028234663852886e38), window, stride, "valid")

const padded = (tf: TensorFlow, x: tfjs.Tensor4D, by: number, value: number): tfjs.Tensor4D =>
  tf.pad4d(
    x,
    [
      [0, 0],
      [by, by],
      [by, by],
      [0, 0]
    ],
    value
  )

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
