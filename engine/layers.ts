/**
 * Layers with PyTorch's geometry and statistics, in TensorFlow's layout (NHWC): convolution and pooling with explicit
 * padding, batch normalisation by TensorFlow's fused ops.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { runOp } from "#engine/op.ts"
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
  if (padding === 0) return tf.conv2d(x, kernel, stride, "valid")
  if (stride === 1 && kernel.shape[0] === 2 * padding + 1) return tf.conv2d(x, kernel, 1, "same")
  return tf.conv2d(padded(tf, x, padding, 0), kernel, stride, "valid")
}

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

export interface BatchNorm {
  readonly scale: tfjs.Variable
  readonly shift: tfjs.Variable
  readonly runningMean: tfjs.Variable
  readonly runningVariance: tfjs.Variable
}

const epsilon = 1e-5
const momentum = 0.1

const attributes = (training: boolean) =>
  ({
    T: { type: "float32" },
    U: { type: "float32" },
    epsilon: { float: epsilon },
    data_format: { string: "NHWC" },
    is_training: { bool: training }
  }) as const

/** Batch normalisation by the running statistics. `x` [N, H, W, C]. */
export const batchNormEvaluate = (tf: TensorFlow, x: tfjs.Tensor4D, layer: BatchNorm): tfjs.Tensor4D =>
  runOp(
    tf,
    "FusedBatchNormV3",
    { ...attributes(false), exponential_avg_factor: { float: 1 } },
    [x, layer.scale, layer.shift, layer.runningMean, layer.runningVariance],
    6
  )[0] as tfjs.Tensor4D

/**
 * Batch normalisation by the batch's own statistics, which move the running ones: momentum 0.1, the running variance
 * by the unbiased estimate, as PyTorch's BatchNorm does. `x` [N, H, W, C].
 */
export const batchNormTrain = (tf: TensorFlow, x: tfjs.Tensor4D, layer: BatchNorm): tfjs.Tensor4D => {
  const normalise = tf.customGrad((input, scale, shift, save) => {
    const none = tf.tensor1d([])
    const [y, mean, variance, ...reserved] = runOp(
      tf,
      "FusedBatchNormV3",
      { ...attributes(true), exponential_avg_factor: { float: 1 } },
      [input as tfjs.Tensor, scale as tfjs.Tensor, shift as tfjs.Tensor, none, none],
      6
    )
    moveTowards(tf, layer.runningMean, mean!)
    moveTowards(tf, layer.runningVariance, variance!)
    ;(save as tfjs.GradSaveFunc)([input as tfjs.Tensor, scale as tfjs.Tensor, ...reserved])
    const gradFunc = (dy: tfjs.Tensor, saved: Array<tfjs.Tensor>) =>
      runOp(tf, "FusedBatchNormGradV3", attributes(true), [dy, ...saved], 5).slice(0, 3)
    return { value: y!, gradFunc }
  })
  return normalise(x, layer.scale, layer.shift) as tfjs.Tensor4D
}

const moveTowards = (tf: TensorFlow, running: tfjs.Variable, batch: tfjs.Tensor) =>
  running.assign(tf.add(tf.mul(running, 1 - momentum), tf.mul(batch, momentum)))
