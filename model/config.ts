/** The configuration of a network: which backbone, at which geometry, and its head. */
import { Schema } from "effect"

const PositiveInt = Schema.Int.check(Schema.isGreaterThan(0))
const FourStages = Schema.Array(PositiveInt).check(
  Schema.makeFilter((widths) => widths.length === 4 || "expected four numbers, one a stage")
)

/** Geometry of a residual network of basic blocks (two 3×3 convolutions each). */
export const ResNetGeometry = Schema.Struct({
  /** Square kernel, stride and output channels of the first convolution; `maxPool` adds 3×3 max pooling of stride 2. */
  stem: Schema.Struct({ kernel: PositiveInt, stride: PositiveInt, channels: PositiveInt, maxPool: Schema.Boolean }),
  widths: FourStages,
  blocks: FourStages,
  strides: FourStages
})
export type ResNetGeometry = typeof ResNetGeometry.Type

/** Backbones by name. `resnet-small` is the quickstart's: 0.33 M parameters for images of 64×32. */
export const backbones = {
  "resnet-small": {
    stem: { kernel: 3, stride: 2, channels: 16, maxPool: false },
    widths: [16, 32, 64, 128],
    blocks: [1, 1, 1, 1],
    strides: [1, 2, 2, 1]
  }
} satisfies Record<string, ResNetGeometry>
export type BackboneName = keyof typeof backbones

export const ModelConfig = Schema.Struct({
  /** A backbone by name, or the geometry of a residual network of basic blocks. */
  backbone: Schema.Union([Schema.Literals(Object.keys(backbones) as Array<BackboneName>), ResNetGeometry])
}).annotate({ identifier: "ModelConfig" })
export type ModelConfig = typeof ModelConfig.Type

export const geometryOf = ({ backbone }: ModelConfig): ResNetGeometry =>
  typeof backbone === "string" ? backbones[backbone] : backbone
