/**
 * Residual backbones of basic blocks: the tensors they have, by torchvision's names, and their forward pass.
 * Source: He et al., "Deep Residual Learning", CVPR 2016; the last stride is the caller's choice (re-ID sets it to 1).
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { conv2d, maxPool2d } from "#engine/layers.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"
import type { ResNetGeometry } from "#model/config.ts"

/** A tensor of a network: its name and shape as in a PyTorch state_dict. */
export interface TensorSpec {
  readonly name: string
  readonly shape: ReadonlyArray<number>
  /** `statistic` tensors and the head's `frozen` bias are not trained; `count` is a number of batches, int64. */
  readonly kind: "kernel" | "scale" | "shift" | "mean" | "variance" | "count" | "linear" | "frozen"
}

/** The layers that a forward pass calls, by the name of the layer. */
export interface Layers {
  readonly kernel: (name: string) => tfjs.Tensor4D
  readonly batchNorm: (name: string, x: tfjs.Tensor4D) => tfjs.Tensor4D
}

interface Block {
  readonly name: string
  readonly channelsIn: number
  readonly channels: number
  readonly stride: number
}

/** The blocks of the four stages in order, named `layer1.0` … `layer4.n`. */
const blocksOf = ({ stem, widths, blocks, strides }: ResNetGeometry): ReadonlyArray<Block> => {
  let channelsIn = stem.channels
  return widths.flatMap((channels, stage) =>
    Array.from({ length: blocks[stage]! }, (_, index) => {
      const block = { name: `layer${stage + 1}.${index}`, channelsIn, channels, stride: index ? 1 : strides[stage]! }
      channelsIn = channels
      return block
    })
  )
}

const projects = ({ stride, channelsIn, channels }: Block) => stride > 1 || channelsIn !== channels

const kernelSpec = (name: string, out: number, input: number, size: number): TensorSpec => ({
  name: `${name}.weight`,
  shape: [out, input, size, size],
  kind: "kernel"
})

export const batchNormSpecs = (name: string, channels: number, shift: "shift" | "frozen" = "shift") =>
  [
    { name: `${name}.weight`, shape: [channels], kind: "scale" },
    { name: `${name}.bias`, shape: [channels], kind: shift },
    { name: `${name}.running_mean`, shape: [channels], kind: "mean" },
    { name: `${name}.running_var`, shape: [channels], kind: "variance" },
    { name: `${name}.num_batches_tracked`, shape: [], kind: "count" }
  ] satisfies ReadonlyArray<TensorSpec>

/** All tensors of the backbone in the order of PyTorch's state_dict. */
export const resnetTensors = (geometry: ResNetGeometry): ReadonlyArray<TensorSpec> => {
  const { stem } = geometry
  return [
    kernelSpec("conv1", stem.channels, 3, stem.kernel),
    ...batchNormSpecs("bn1", stem.channels),
    ...blocksOf(geometry).flatMap((block) => [
      kernelSpec(`${block.name}.conv1`, block.channels, block.channelsIn, 3),
      ...batchNormSpecs(`${block.name}.bn1`, block.channels),
      kernelSpec(`${block.name}.conv2`, block.channels, block.channels, 3),
      ...batchNormSpecs(`${block.name}.bn2`, block.channels),
      ...(projects(block)
        ? [
            kernelSpec(`${block.name}.downsample.0`, block.channels, block.channelsIn, 1),
            ...batchNormSpecs(`${block.name}.downsample.1`, block.channels)
          ]
        : [])
    ])
  ]
}

const basicBlock = (tf: TensorFlow, layers: Layers, block: Block, x: tfjs.Tensor4D): tfjs.Tensor4D => {
  const { name, stride } = block
  const conv = (conv: string, input: tfjs.Tensor4D, s: number, padding: number) =>
    conv2d(tf, input, layers.kernel(`${name}.${conv}`), s, padding)
  const first = tf.relu(layers.batchNorm(`${name}.bn1`, conv("conv1", x, stride, 1)))
  const second = layers.batchNorm(`${name}.bn2`, conv("conv2", first, 1, 1))
  const shortcut = projects(block) ? layers.batchNorm(`${name}.downsample.1`, conv("downsample.0", x, stride, 0)) : x
  return tf.relu(tf.add(second, shortcut))
}

/** Feature map [N, h, w, widths[3]] of images [N, H, W, 3]. */
export const resnetForward = (
  tf: TensorFlow,
  geometry: ResNetGeometry,
  layers: Layers,
  images: tfjs.Tensor4D
): tfjs.Tensor4D => {
  const { kernel, stride, maxPool } = geometry.stem
  const stem = conv2d(tf, images, layers.kernel("conv1"), stride, (kernel - 1) / 2)
  const activated = tf.relu(layers.batchNorm("bn1", stem))
  const pooled = maxPool ? maxPool2d(tf, activated, 3, 2, 1) : activated
  return blocksOf(geometry).reduce((x, block) => basicBlock(tf, layers, block, x), pooled)
}
