/**
 * Layers with PyTorch's geometry and statistics, in TensorFlow's layout (NHWC): convolution and pooling with explicit
 * padding, batch and instance normalisation.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { backendOf, runOp } from "#engine/op.ts"
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

/** Scale and shift of each channel [C], after it was normalised. */
export interface Affine {
  readonly scale: tfjs.Variable
  readonly shift: tfjs.Variable
}

export interface BatchNorm extends Affine {
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
  forward(tf, false, [x, layer.scale, layer.shift, layer.runningMean, layer.runningVariance])[0] as tfjs.Tensor4D

/** What batch normalisation by the running statistics does to each channel: x · factor + offset. Both [C]. */
export const evaluationAffine = (tf: TensorFlow, layer: BatchNorm): { factor: Channels; offset: Channels } => {
  const factor = tf.mul(layer.scale, tf.rsqrt(tf.add(layer.runningVariance, epsilon))) as Channels
  return { factor, offset: tf.sub(layer.shift, tf.mul(layer.runningMean, factor)) }
}

/**
 * Batch normalisation by the batch's own statistics, which move the running ones: momentum 0.1, the running variance
 * by the unbiased estimate, as PyTorch's BatchNorm does. `x` [N, H, W, C].
 *
 * With `groups` above 1 each consecutive group of N/groups images is normalised on its own, and the first group alone moves
 * the running statistics: so it is on as many GPUs under PyTorch's DataParallel, which splits a batch into consecutive
 * chunks and keeps the buffers of its first replica alone (documentation of torch.nn.DataParallel).
 */
export const batchNormTrain = (tf: TensorFlow, x: Images, layer: BatchNorm, groups = 1): Images =>
  normalise(tf, x, layer, groups, (mean, unbiased) => {
    moveTowards(tf, layer.runningMean, mean)
    moveTowards(tf, layer.runningVariance, unbiased)
  })

/** Each image's channels normalised by their own mean and variance over its pixels. `x` [N, H, W, C]. */
export const instanceNorm = (tf: TensorFlow, x: Images, layer: Affine): Images => normalise(tf, x, layer, x.shape[0])

type Images = tfjs.Tensor4D
type Channels = tfjs.Tensor1D

/**
 * How groups of images are normalised apart by ops that know one group alone: side by side, as groups · C channels of that
 * many images' pixels.
 */
interface Grouping {
  readonly beside: (images: tfjs.Tensor) => Images
  readonly apart: (images: tfjs.Tensor) => Images
  /** Each channel's value for every group, the sum of its values in the groups, and the first group's. */
  readonly repeat: (values: tfjs.Tensor) => Channels
  readonly sum: (values: tfjs.Tensor) => Channels
  readonly first: (values: tfjs.Tensor) => Channels
}

const grouping = (tf: TensorFlow, shape: Images["shape"], groups: number): Grouping => {
  const same = <T extends tfjs.Tensor>(tensor: tfjs.Tensor) => tensor as T
  if (groups === 1) return { beside: same, apart: same, repeat: same, sum: same, first: same }
  const [n, h, w, channels] = shape
  const rows = (n / groups) * h * w
  const swapped = (images: tfjs.Tensor, from: [number, number, number], to: Images["shape"]) =>
    tf.reshape(tf.transpose(tf.reshape(images, from), [1, 0, 2]), to) as Images
  return {
    beside: (images) => swapped(images, [groups, rows, channels], [rows, 1, 1, groups * channels]),
    apart: (images) => swapped(images, [rows, groups, channels], shape),
    repeat: (values) => tf.tile(values, [groups]) as Channels,
    sum: (values) => tf.sum(tf.reshape(values, [groups, channels]), 0),
    first: (values) => tf.slice(values, 0, channels) as Channels
  }
}

/** Normalises groups of images, each by its own statistics; `first` gets those of the first group. */
const normalise = (
  tf: TensorFlow,
  x: Images,
  layer: Affine,
  groups: number,
  first?: (mean: Channels, unbiased: Channels) => void
): Images => {
  const at = grouping(tf, x.shape, groups)
  const statistics = backendOf(tf).isUsingGpuDevice ? fusedStatistics : blockedStatistics
  const op = tf.customGrad((given, scale, shift, save) => {
    const input = at.beside(given as tfjs.Tensor)
    const scales = at.repeat(scale as tfjs.Tensor)
    const { y, mean, unbiased, reserved } = statistics(tf, input, scales, at.repeat(shift as tfjs.Tensor))
    first?.(at.first(mean), at.first(unbiased))
    ;(save as tfjs.GradSaveFunc)([input, scales, ...reserved])
    const gradFunc = (dy: tfjs.Tensor, saved: Array<tfjs.Tensor>) => {
      const [dx, dScale, dShift] = runOp(tf, "FusedBatchNormGradV3", attributes(true), [at.beside(dy), ...saved], 5)
      return [at.apart(dx), at.sum(dScale), at.sum(dShift)]
    }
    return { value: at.apart(y), gradFunc }
  })
  return op(x, layer.scale, layer.shift) as Images
}

interface Normalised {
  readonly y: tfjs.Tensor
  readonly mean: tfjs.Tensor
  readonly unbiased: tfjs.Tensor
  /** What the gradient's op takes from the forward one. */
  readonly reserved: ReadonlyArray<tfjs.Tensor>
}

const forward = (tf: TensorFlow, training: boolean, inputs: ReadonlyArray<tfjs.Tensor>) =>
  runOp(tf, "FusedBatchNormV3", { ...attributes(training), exponential_avg_factor: { float: 1 } }, inputs, 6)

const fusedStatistics = (tf: TensorFlow, x: Images, scale: Channels, shift: Channels): Normalised => {
  const none = tf.tensor1d([])
  const [y, mean, unbiased, ...reserved] = forward(tf, true, [x, scale, shift, none, none])
  return { y, mean, unbiased, reserved }
}

/**
 * On the CPU the fused op adds up all rows one after the other, with twice the rounding error of PyTorch's statistics:
 * enough to turn the sign of activations near zero, and with it the gradient of whole early layers. So they are
 * computed here.
 */
const blockedStatistics = (tf: TensorFlow, x: Images, scale: Channels, shift: Channels): Normalised => {
  const rows = x.size / x.shape[3]
  const mean = channelMeans(tf, x)
  const variance = channelMeans(tf, tf.squaredDifference(x, mean))
  const [y] = forward(tf, false, [x, scale, shift, mean, variance])
  const unbiased = tf.mul(variance, rows / Math.max(1, rows - 1))
  return { y, mean, unbiased, reserved: [mean, variance, tf.tensor1d([])] }
}

/** Means [C] over all rows, in two steps of about √rows numbers: the error of a sum grows with its length. */
const channelMeans = (tf: TensorFlow, x: tfjs.Tensor): Channels => {
  const channels = x.shape.at(-1)!
  const rows = x.size / channels
  let block = Math.floor(Math.sqrt(rows))
  while (rows % block !== 0) block--
  return tf.mean(tf.mean(tf.reshape(x, [rows / block, block, channels]), 1), 0) as Channels
}

const moveTowards = (tf: TensorFlow, running: tfjs.Variable, batch: tfjs.Tensor) =>
  running.assign(tf.add(tf.mul(running, 1 - momentum), tf.mul(batch, momentum)))
