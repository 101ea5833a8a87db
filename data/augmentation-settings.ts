/** How images are augmented and normalised, as schemas; the threads that augment do without, and start without Effect. */
import { Schema } from "effect"

const NotNegative = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))
const Probability = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))
const Three = Schema.Array(Schema.Finite).check(
  Schema.makeFilter((values) => values.length === 3 || "expected three numbers: red, green, blue")
)

export const ColorJitter = Schema.Struct({
  probability: Probability,
  brightness: NotNegative,
  contrast: NotNegative,
  saturation: NotNegative,
  hue: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 0.5 }))
})
export type ColorJitter = typeof ColorJitter.Type

export const Blur = Schema.Struct({
  probability: Probability,
  sigma: Schema.Array(NotNegative).check(
    Schema.makeFilter(
      (range) => (range.length === 2 && range[0]! <= range[1]!) || "expected the lowest and the highest of two numbers"
    )
  )
})
export type Blur = typeof Blur.Type

export const Augmentation = Schema.Struct({
  /** Probability of a horizontal flip. */
  flip: Probability,
  /** Black pixels added on each side before the random crop back to the image's size. */
  pad: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)),
  /** Probability of random erasing. */
  erase: Probability,
  colorJitter: Schema.optionalKey(ColorJitter),
  blur: Schema.optionalKey(Blur)
})
export type Augmentation = typeof Augmentation.Type

/** Mean and standard deviation of each channel, of values in [0, 1]. */
export const Normalisation = Schema.Struct({ mean: Three, std: Three })
export type Normalisation = typeof Normalisation.Type
