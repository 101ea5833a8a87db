/**
 * Residual backbones: their convolutions with the normalisation that follows each, the tensors they have, by torchvision's
 * names (IBN-Net's for IBN-a), and their forward pass.
 * Sources: He et al., "Deep Residual Learning", CVPR 2016; Pan et al., "Two at Once: IBN-Net", ECCV 2018. A bottleneck's
 * stride is in its 3×3 convolution, as in torchvision; the last stride is the caller's choice (re-ID sets it to 1).
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import type { After } from "#engine/normalisation.ts"
import { maxPool2d } from "#engine/pooling.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"
import { expansionOf, type ResNetGeometry } from "#model/config.ts"

/** A tensor of a network: its name and shape as in a PyTorch state_dict. */
export interface TensorSpec {
  readonly name: string
  readonly shape: ReadonlyArray<number>
  /**
   * `mean` and `variance` are running statistics and `count` their number of batches, int64; they and the head's `frozen`
   * bias are not trained. `exponent` is GeM's, `linear` the classifier's and `projection` the head's weight.
   */
  readonly kind:
    | "kernel"
    | "scale"
    | "shift"
    | "mean"
    | "variance"
    | "count"
    | "exponent"
    | "linear"
    | "projection"
    | "frozen"
}

/** A square convolution without bias, and the normalisation of its output. */
export interface Convolution {
  readonly name: string
  readonly norm: string
  readonly size: number
  readonly stride: number
  readonly channelsIn: number
  readonly channels: number
  /** Leading channels that `norm` normalises image by image (IBN), the others being BatchNorm's; 0 where all are. */
  readonly instanceChannels: number
}

/** A convolution with its normalisation and what follows it, on x [N, H, W, channelsIn]. */
export type ConvolutionLayer = (convolution: Convolution, x: tfjs.Tensor4D, after?: After) => tfjs.Tensor4D

interface Block {
  readonly main: ReadonlyArray<Convolution>
  /** Where the input does not fit the output. */
  readonly shortcut: Convolution | undefined
}

const stemOf = ({ stem: { kernel, stride, channels } }: ResNetGeometry): Convolution => ({
  name: "conv1",
  norm: "bn1",
  size: kernel,
  stride,
  channelsIn: 3,
  channels,
  instanceChannels: 0
})

const blockOf = (geometry: ResNetGeometry, stage: number, index: number, channelsIn: number): Block => {
  const name = `layer${stage + 1}.${index}`
  const width = geometry.widths[stage]!
  const channels = width * expansionOf(geometry)
  const stride = index === 0 ? geometry.strides[stage]! : 1
  const part = (number: number, size: number, step: number, input: number, output: number): Convolution => ({
    name: `${name}.conv${number}`,
    norm: `${name}.bn${number}`,
    size,
    stride: step,
    channelsIn: input,
    channels: output,
    instanceChannels: number === 1 && stage < 3 && geometry.ibn ? output / 2 : 0
  })
  const main =
    geometry.block === "bottleneck"
      ? [part(1, 1, 1, channelsIn, width), part(2, 3, stride, width, width), part(3, 1, 1, width, channels)]
      : [part(1, 3, stride, channelsIn, width), part(2, 3, 1, width, channels)]
  if (stride === 1 && channelsIn === channels) return { main, shortcut: undefined }
  const projection = { name: `${name}.downsample.0`, norm: `${name}.downsample.1`, instanceChannels: 0 }
  return { main, shortcut: { ...projection, size: 1, stride, channelsIn, channels } }
}

/** The blocks of the four stages. */
const stagesOf = (geometry: ResNetGeometry): ReadonlyArray<ReadonlyArray<Block>> => {
  let channelsIn = geometry.stem.channels
  return geometry.blocks.map((count, stage) =>
    Array.from({ length: count }, (_, index) => {
      const block = blockOf(geometry, stage, index, channelsIn)
      channelsIn = block.main.at(-1)!.channels
      return block
    })
  )
}

/** All convolutions of the backbone, in the order of PyTorch's state_dict. */
export const convolutionsOf = (geometry: ResNetGeometry): ReadonlyArray<Convolution> => [
  stemOf(geometry),
  ...stagesOf(geometry)
    .flat()
    .flatMap(({ main, shortcut }) => (shortcut ? [...main, shortcut] : main))
]

export const batchNormSpecs = (name: string, channels: number, shift: "shift" | "frozen" = "shift") =>
  [
    { name: `${name}.weight`, shape: [channels], kind: "scale" },
    { name: `${name}.bias`, shape: [channels], kind: shift },
    { name: `${name}.running_mean`, shape: [channels], kind: "mean" },
    { name: `${name}.running_var`, shape: [channels], kind: "variance" },
    { name: `${name}.num_batches_tracked`, shape: [], kind: "count" }
  ] satisfies ReadonlyArray<TensorSpec>

const convolutionSpecs = (convolution: Convolution): ReadonlyArray<TensorSpec> => {
  const { name, norm, size, channelsIn, channels, instanceChannels } = convolution
  return [
    { name: `${name}.weight`, shape: [channels, channelsIn, size, size], kind: "kernel" },
    ...(instanceChannels === 0
      ? batchNormSpecs(norm, channels)
      : [
          // Instance normalisation has no running statistics.
          ...batchNormSpecs(`${norm}.IN`, instanceChannels).slice(0, 2),
          ...batchNormSpecs(`${norm}.BN`, channels - instanceChannels)
        ])
  ]
}

/** All tensors of the backbone in the order of PyTorch's state_dict. */
export const resnetTensors = (geometry: ResNetGeometry): ReadonlyArray<TensorSpec> =>
  convolutionsOf(geometry).flatMap(convolutionSpecs)

/**
 * Feature maps [N, h, w, channels] of images [N, H, W, 3]: after the stem and after each of the four stages. The last one
 * is what is pooled.
 */
export const resnetForward = (
  tf: TensorFlow,
  geometry: ResNetGeometry,
  layer: ConvolutionLayer,
  images: tfjs.Tensor4D,
  stemRelu = true
): ReadonlyArray<tfjs.Tensor4D> => {
  const stem = tf.tidy(() => {
    const activated = layer(stemOf(geometry), images, { relu: stemRelu })
    return geometry.stem.maxPool ? maxPool2d(tf, activated, 3, 2, 1) : activated
  })
  // A block's tensors are freed with it, so that evaluation needs no more memory than one block.
  const blockForward = (x: tfjs.Tensor4D, { main, shortcut }: Block) =>
    tf.tidy(() => {
      const inside = main.slice(0, -1).reduce((y, convolution) => layer(convolution, y, { relu: true }), x)
      return layer(main.at(-1)!, inside, { relu: true, residual: shortcut ? layer(shortcut, x) : x })
    })
  const maps = [stem]
  for (const blocks of stagesOf(geometry)) maps.push(blocks.reduce(blockForward, maps.at(-1)!))
  return maps
}
