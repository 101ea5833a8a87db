/**
 * Batch and instance normalisation with PyTorch's statistics, on images in TensorFlow's layout (NHWC), with what follows them
 * in a residual block: an addition and a ReLU. On the CPU all of it is one op of `addon/normalisation.cc`; on a GPU it is
 * composed of TensorFlow's own.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { backendOf, runOp } from "#engine/op.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"

type Images = tfjs.Tensor4D
type Channels = tfjs.Tensor1D

/** Scale and shift of each channel [C], after it was normalised. */
export interface Affine {
  readonly scale: tfjs.Variable
  readonly shift: tfjs.Variable
}

export interface BatchNorm extends Affine {
  readonly runningMean: tfjs.Variable
  readonly runningVariance: tfjs.Variable
}

/** What follows a normalisation: `residual` (of x's shape) is added, then negative values become 0. */
export interface After {
  readonly residual?: Images | undefined
  readonly relu?: boolean
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

const forward = (tf: TensorFlow, training: boolean, inputs: ReadonlyArray<tfjs.Tensor>) =>
  runOp(tf, "FusedBatchNormV3", { ...attributes(training), exponential_avg_factor: { float: 1 } }, inputs, 6)

/** Batch normalisation by the running statistics. `x` [N, H, W, C]. It has no gradient. */
export const batchNormEvaluate = (tf: TensorFlow, x: Images, layer: BatchNorm, after: After = {}): Images => {
  const [y] = forward(tf, false, [x, layer.scale, layer.shift, layer.runningMean, layer.runningVariance])
  return followed(tf, y as Images, after)
}

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
export const batchNormTrain = (tf: TensorFlow, x: Images, layer: BatchNorm, after: After = {}, groups = 1): Images =>
  normalisation(tf)(tf, x, layer, after, groups, layer)

/** Each image's channels normalised by their own mean and variance over its pixels. `x` [N, H, W, C]. */
export const instanceNorm = (tf: TensorFlow, x: Images, layer: Affine, after: After = {}): Images =>
  normalisation(tf)(tf, x, layer, after, x.shape[0])

type Running = Pick<BatchNorm, "runningMean" | "runningVariance">

/** Normalises `groups` consecutive groups of images, each by its own statistics; those of the first move `running`. */
export type Normalisation = (
  tf: TensorFlow,
  x: Images,
  layer: Affine,
  after: After,
  groups: number,
  running?: Running
) => Images

const normalisation = (tf: TensorFlow): Normalisation =>
  backendOf(tf).isUsingGpuDevice ? composedNormalisation : fusedNormalisation

/** By the CPU's own op. */
export const fusedNormalisation: Normalisation = (tf, x, layer, { residual, relu = false }, groups, running) => {
  const common = { relu: { bool: relu }, groups: { int: groups }, epsilon: { float: epsilon } } as const
  const none = () => tf.tensor1d([])
  const op = tf.customGrad((...given) => {
    const save = given.pop() as tfjs.GradSaveFunc
    const [input, scale, shift, added = none()] = given as Array<tfjs.Tensor>
    const moving = running ? [running.runningMean, running.runningVariance] : [none(), none()]
    const inputs = [input!, scale!, shift!, ...moving, added]
    const [y, mean, variance, movedMean, movedVariance] = runOp(
      tf,
      "MmtBatchNorm",
      { ...common, momentum: { float: momentum } },
      inputs,
      5
    )
    running?.runningMean.assign(movedMean)
    running?.runningVariance.assign(movedVariance)
    // Without a residual the op finds the sign before the ReLU in x again.
    save([input!, relu && residual ? y : none(), scale!, shift!, mean, variance])
    const gradFunc = (dy: tfjs.Tensor, saved: Array<tfjs.Tensor>) => {
      const own = { ...common, residual: { bool: residual !== undefined } }
      const [dx, dScale, dShift, dz] = runOp(tf, "MmtBatchNormGrad", own, [dy, ...saved], 4)
      return residual ? [dx, dScale, dShift, relu ? dz : dy] : [dx, dScale, dShift]
    }
    return { value: y, gradFunc }
  })
  return op(x, layer.scale, layer.shift, ...(residual ? [residual] : [])) as Images
}

/** By TensorFlow's ops, on any device. */
export const composedNormalisation: Normalisation = (tf, x, layer, after, groups, running) => {
  const at = grouping(tf, x.shape, groups)
  const op = tf.customGrad((given, scale, shift, save) => {
    const input = at.beside(given as tfjs.Tensor)
    const scales = at.repeat(scale as tfjs.Tensor)
    const none = tf.tensor1d([])
    const [y, mean, unbiased, ...reserved] = forward(tf, true, [
      input,
      scales,
      at.repeat(shift as tfjs.Tensor),
      none,
      none
    ])
    if (running) {
      moveTowards(tf, running.runningMean, at.first(mean))
      moveTowards(tf, running.runningVariance, at.first(unbiased))
    }
    ;(save as tfjs.GradSaveFunc)([input, scales, ...reserved])
    const gradFunc = (dy: tfjs.Tensor, saved: Array<tfjs.Tensor>) => {
      const [dx, dScale, dShift] = runOp(tf, "FusedBatchNormGradV3", attributes(true), [at.beside(dy), ...saved], 5)
      return [at.apart(dx), at.sum(dScale), at.sum(dShift)]
    }
    return { value: at.apart(y), gradFunc }
  })
  return followed(tf, op(x, layer.scale, layer.shift) as Images, after)
}

/** `x` with what follows it. */
export const followed = (tf: TensorFlow, x: Images, { residual, relu = false }: After): Images => {
  const sum = residual ? (tf.add(x, residual) as Images) : x
  return relu ? rectified(tf, sum) : sum
}

/** ReLU; tfjs's own gradient of it takes four ops. */
const rectified = (tf: TensorFlow, x: Images): Images =>
  tf.customGrad((given, save) => {
    const y = tf.relu(given as Images)
    ;(save as tfjs.GradSaveFunc)([y])
    const gradFunc = (dy: tfjs.Tensor, [saved]: Array<tfjs.Tensor>) =>
      runOp(tf, "ReluGrad", { T: { type: "float32" } }, [dy, saved!], 1)[0]
    return { value: y, gradFunc }
  })(x) as Images

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

const moveTowards = (tf: TensorFlow, running: tfjs.Variable, batch: tfjs.Tensor) =>
  running.assign(tf.add(tf.mul(running, 1 - momentum), tf.mul(batch, momentum)))
