/** The configuration of a network: which backbone, at which geometry, its pooling, and how it normalises. */
import { Schema } from "effect"

const PositiveInt = Schema.Int.check(Schema.isGreaterThan(0))
const OddInt = PositiveInt.check(Schema.makeFilter((kernel) => kernel % 2 === 1 || "expected an odd number"))
const FourStages = Schema.Array(PositiveInt).check(
  Schema.makeFilter((widths) => widths.length === 4 || "expected four numbers, one a stage")
)

/** Geometry of a residual network. */
export const ResNetGeometry = Schema.Struct({
  stem: Schema.Struct({
    kernel: OddInt.annotate({ description: "Width and height of its kernel." }),
    stride: PositiveInt.annotate({ description: "Its stride." }),
    channels: PositiveInt.annotate({ description: "Its output channels." }),
    maxPool: Schema.Boolean.annotate({ description: "Whether 3×3 max pooling of stride 2 follows." })
  }).annotate({ description: "The first convolution." }),
  widths: FourStages.annotate({ description: "Channels inside the blocks of each stage." }),
  blocks: FourStages.annotate({ description: "Blocks of each stage." }),
  strides: FourStages.annotate({ description: "Stride of each stage's first block." }),
  block: Schema.optionalKey(
    Schema.Literals(["basic", "bottleneck"]).annotate({
      description:
        "`basic` (the default) has two 3×3 convolutions; `bottleneck` 1×1, 3×3 (with the stride) and 1×1, whose output has four times the stage's width."
    })
  ),
  ibn: Schema.optionalKey(
    Schema.Literals(["a"]).annotate({
      description: "IBN-a: in the first three stages the first half of each block's `bn1` is instance normalisation."
    })
  )
}).check(
  Schema.makeFilter(
    ({ ibn, widths }) =>
      ibn === undefined ||
      widths.slice(0, 3).every((width) => width % 2 === 0) ||
      "expected even widths in the first three stages, of which IBN takes halves"
  )
)
export type ResNetGeometry = typeof ResNetGeometry.Type

const resnet50: ResNetGeometry = {
  stem: { kernel: 7, stride: 2, channels: 64, maxPool: true },
  widths: [64, 128, 256, 512],
  blocks: [3, 4, 6, 3],
  strides: [1, 2, 2, 1],
  block: "bottleneck"
}

/**
 * Backbones by name. `resnet-small` is the quickstart's: 0.33 M parameters for images of 64×32. `resnet-50` and
 * `resnet-50-ibn-a` are the paper's, for 256×128; their last stride is 1, as re-ID sets it.
 */
export const backbones = {
  "resnet-small": {
    stem: { kernel: 3, stride: 2, channels: 16, maxPool: false },
    widths: [16, 32, 64, 128],
    blocks: [1, 1, 1, 1],
    strides: [1, 2, 2, 1]
  },
  "resnet-50": resnet50,
  "resnet-50-ibn-a": { ...resnet50, ibn: "a" }
} satisfies Record<string, ResNetGeometry>
export type BackboneName = keyof typeof backbones

/** A key that need not be there; the description is for the page of all keys and for editors. */
const optional = <S extends Schema.Top>(schema: S, description: string) =>
  Schema.optionalKey(schema.annotate({ description }) as S)

export const ModelConfig = Schema.Struct({
  backbone: Schema.Union([Schema.Literals(Object.keys(backbones) as Array<BackboneName>), ResNetGeometry]).annotate({
    description: "A backbone by name, or the geometry of a residual network."
  }),
  pooling: optional(
    Schema.Literals(["average", "gem"]),
    "How a feature map becomes a feature: its average (the default), or GeM with a trained exponent (OpenUnReID)."
  ),
  embedding: optional(
    PositiveInt,
    "Numbers in an embedding, to which a linear layer with a bias projects the pooled feature before BNNeck, with a ReLU after it in training; without it, BNNeck takes the feature itself. Triplet losses compare the pooled features either way (the original code's `num_features`, OpenUnReID's `embed_feat`)."
  ),
  dropout: optional(
    Schema.Finite.check(
      Schema.makeFilter((share) => (share >= 0 && share < 1) || "expected a value of at least 0 and below 1")
    ),
    "Share of BNNeck's outputs that training sets to 0 before the classifier (0 by default), by a draw for each network."
  ),
  stemRelu: optional(
    Schema.Boolean,
    "`false` leaves out the ReLU after the stem's BatchNorm, as the original code's ResNet-50 does."
  ),
  samplesPerBatchNorm: optional(
    PositiveInt,
    "In training, BatchNorm normalises each consecutive group of so many images on its own; without it, the whole batch. The published runs had 16 (a quarter of a batch on each of four GPUs)."
  )
}).annotate({ identifier: "ModelConfig" })
export type ModelConfig = typeof ModelConfig.Type

export const geometryOf = ({ backbone }: ModelConfig): ResNetGeometry =>
  typeof backbone === "string" ? backbones[backbone] : backbone

/** Output channels of a block, as multiples of its stage's width. */
export const expansionOf = ({ block }: ResNetGeometry): number => (block === "bottleneck" ? 4 : 1)

/** Numbers in a pooled feature: the output channels of the last stage. */
export const dimensionOf = (config: ModelConfig): number => {
  const geometry = geometryOf(config)
  return geometry.widths[3]! * expansionOf(geometry)
}

/** Numbers in an embedding. */
export const embeddingDimensionOf = (config: ModelConfig): number => config.embedding ?? dimensionOf(config)
