/**
 * The training transform: flip, pad and random crop, normalise, random erasing, in one pass over the pixels; and the
 * test transform, which only normalises. Source: the original code's `mmt/utils/data/transforms.py`.
 */
import { Schema } from "effect"
import type { Random } from "#data/random.ts"

const Probability = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))
const Three = Schema.Array(Schema.Finite).check(
  Schema.makeFilter((values) => values.length === 3 || "expected three numbers: red, green, blue")
)

export const Augmentation = Schema.Struct({
  /** Probability of a horizontal flip. */
  flip: Probability,
  /** Black pixels added on each side before the random crop back to the image's size. */
  pad: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)),
  /** Probability of random erasing. */
  erase: Probability
})
export type Augmentation = typeof Augmentation.Type

/** Mean and standard deviation of each channel, of values in [0, 1]. */
export const Normalisation = Schema.Struct({ mean: Three, std: Three })
export type Normalisation = typeof Normalisation.Type

export const imagenetNormalisation: Normalisation = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }

/** Normalised value of each byte, 256 a channel. */
export const normalisationTable = ({ mean, std }: Normalisation): ReadonlyArray<Float32Array> =>
  mean.map((m, channel) => Float32Array.from({ length: 256 }, (_, byte) => (byte / 255 - m) / std[channel]!))

export interface Size {
  readonly height: number
  readonly width: number
}

/** Writes `pixels` (RGB bytes, any number of images) to `out`, normalised. */
export const normalise = (pixels: Uint8Array, table: ReadonlyArray<Float32Array>, out: Float32Array): void => {
  const [red, green, blue] = table as [Float32Array, Float32Array, Float32Array]
  for (let i = 0; i < pixels.length; i += 3) {
    out[i] = red[pixels[i]!]!
    out[i + 1] = green[pixels[i + 1]!]!
    out[i + 2] = blue[pixels[i + 2]!]!
  }
}

interface Rectangle {
  readonly top: number
  readonly left: number
  readonly bottom: number
  readonly right: number
}

const nothing: Rectangle = { top: 0, left: 0, bottom: 0, right: 0 }

/** The rectangle that random erasing fills: 2 to 40 % of the area, aspect 0.3 to 1/0.3, up to 100 tries. */
const erasedRectangle = (draw: Random, probability: number, { height, width }: Size): Rectangle => {
  if (!draw.chance(probability)) return nothing
  for (let attempt = 0; attempt < 100; attempt++) {
    const area = draw.uniform(0.02, 0.4) * height * width
    const aspect = draw.uniform(0.3, 1 / 0.3)
    const h = Math.round(Math.sqrt(area * aspect))
    const w = Math.round(Math.sqrt(area / aspect))
    if (w >= width || h >= height) continue
    const top = draw.int(height - h + 1)
    const left = draw.int(width - w + 1)
    return { top, left, bottom: top + h, right: left + w }
  }
  return nothing
}

// The original code writes ImageNet's mean into the image that is normalised already, so this is not the mean colour.
const erasedFill = imagenetNormalisation.mean

/**
 * One augmented view of an image: `pixels` RGB bytes, row-major, to `out` (as many float32, NHWC), by the numbers that
 * `draw` gives.
 */
export const augment = (
  pixels: Uint8Array,
  size: Size,
  { flip, pad, erase }: Augmentation,
  table: ReadonlyArray<Float32Array>,
  draw: Random,
  out: Float32Array
): void => {
  const { height, width } = size
  const [red, green, blue] = table as [Float32Array, Float32Array, Float32Array]
  const [black0, black1, black2] = [red[0]!, green[0]!, blue[0]!]
  const flipped = draw.chance(flip)
  const down = draw.int(2 * pad + 1) - pad
  const right = draw.int(2 * pad + 1) - pad
  const erased = erasedRectangle(draw, erase, size)
  for (let y = 0, at = 0; y < height; y++) {
    const fromY = y + down
    const rowInside = fromY >= 0 && fromY < height
    for (let x = 0; x < width; x++, at += 3) {
      const fromX = x + right
      if (rowInside && fromX >= 0 && fromX < width) {
        const from = (fromY * width + (flipped ? width - 1 - fromX : fromX)) * 3
        out[at] = red[pixels[from]!]!
        out[at + 1] = green[pixels[from + 1]!]!
        out[at + 2] = blue[pixels[from + 2]!]!
      } else {
        out[at] = black0
        out[at + 1] = black1
        out[at + 2] = black2
      }
    }
  }
  for (let y = erased.top; y < erased.bottom; y++)
    for (let x = erased.left, at = (y * width + x) * 3; x < erased.right; x++, at += 3) {
      out[at] = erasedFill[0]!
      out[at + 1] = erasedFill[1]!
      out[at + 2] = erasedFill[2]!
    }
}
