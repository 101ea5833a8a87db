/**
 * The training transform: flip, pad and random crop, optionally colour jitter and blur, then normalise and random erasing, in one
 * pass over the pixels but for the optional ones; and the test transform, which only normalises. Sources: the original code's
 * `mmt/utils/data/transforms.py`; for the order of the optional ones fast-reid (jitter after the crop), SimCLR (blur after jitter) and
 * OpenUnReID (blur before normalising).
 */
import type { Augmentation, Normalisation } from "#data/augmentation-settings.ts"
import { jitterColors } from "#data/color-jitter.ts"
import { blurSometimes } from "#data/gaussian-blur.ts"
import type { Random } from "#data/random.ts"

export const imagenetNormalisation: Normalisation = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }

/** Normalised value of each byte, 256 a channel. */
export const normalisationTable = ({ mean, std }: Normalisation): ReadonlyArray<Float32Array> =>
  mean.map((m, channel) => Float32Array.from({ length: 256 }, (_, byte) => (byte / 255 - m) / std[channel]!))

export interface Size {
  readonly height: number
  readonly width: number
}

/** Writes `count` pixels from byte `from` on, each `step` bytes after the last, normalised, to `out` from value `at` on. */
const normaliseRun = (
  pixels: Uint8Array,
  from: number,
  step: number,
  table: ReadonlyArray<Float32Array>,
  out: Float32Array,
  at: number,
  count: number
): void => {
  const [red, green, blue] = table as [Float32Array, Float32Array, Float32Array]
  for (const end = at + count * 3; at < end; at += 3, from += step) {
    out[at] = red[pixels[from]!]!
    out[at + 1] = green[pixels[from + 1]!]!
    out[at + 2] = blue[pixels[from + 2]!]!
  }
}

/** Writes `pixels` (RGB bytes, any number of images) to `out`, normalised. */
export const normalise = (pixels: Uint8Array, table: ReadonlyArray<Float32Array>, out: Float32Array): void =>
  normaliseRun(pixels, 0, 3, table, out, 0, pixels.length / 3)

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

type Colour = readonly [number, number, number]

// The original code writes ImageNet's mean into the image that is normalised already, so this is not the mean colour.
const erasedFill = imagenetNormalisation.mean as Colour

/** Writes `count` pixels of one colour to `out` from value `at` on. */
const paint = (colour: Colour, out: Float32Array, at: number, count: number): void => {
  const [red, green, blue] = colour
  for (const end = at + count * 3; at < end; at += 3) {
    out[at] = red
    out[at + 1] = green
    out[at + 2] = blue
  }
}

/** What a view shows: each pixel (y, x) is the image's (y + down, x + right), counted from the right edge if flipped. */
interface Frame {
  readonly pixels: Uint8Array
  readonly size: Size
  readonly table: ReadonlyArray<Float32Array>
  readonly flipped: boolean
  readonly down: number
  readonly right: number
  /** What lies outside the image. */
  readonly black: Colour
}

/** Writes the columns [from, to) of row y of the view to `out`. */
const writeColumns = (frame: Frame, y: number, from: number, to: number, out: Float32Array): void => {
  const { pixels, size, table, flipped, down, right, black } = frame
  const { height, width } = size
  const row = y * width
  const imageRow = y + down
  const rowInside = imageRow >= 0 && imageRow < height
  const left = rowInside ? Math.min(to, Math.max(from, -right)) : to
  const end = rowInside ? Math.max(left, Math.min(to, width - right)) : to
  paint(black, out, (row + from) * 3, left - from)
  const column = flipped ? width - 1 - (left + right) : left + right
  normaliseRun(pixels, (imageRow * width + column) * 3, flipped ? -3 : 3, table, out, (row + left) * 3, end - left)
  paint(black, out, (row + end) * 3, to - end)
}

/** The bytes that a frame shows, black outside the image. */
const shownBytes = ({ pixels, size: { height, width }, flipped, down, right }: Frame): Uint8Array => {
  const shown = new Uint8Array(pixels.length)
  for (let y = Math.max(0, -down); y < Math.min(height, height - down); y++)
    for (let x = Math.max(0, -right); x < Math.min(width, width - right); x++) {
      const column = flipped ? width - 1 - (x + right) : x + right
      const from = ((y + down) * width + column) * 3
      const at = (y * width + x) * 3
      shown[at] = pixels[from]!
      shown[at + 1] = pixels[from + 1]!
      shown[at + 2] = pixels[from + 2]!
    }
  return shown
}

/** The frame as an image of its own with other colours. What it draws, it draws beside the rest, which stays as it is without it. */
const recoloured = (frame: Frame, { colorJitter, blur }: Augmentation, draw: Random): Frame => {
  if (colorJitter === undefined && blur === undefined) return frame
  const { height, width } = frame.size
  const pixels = shownBytes(frame)
  if (colorJitter) jitterColors(pixels, colorJitter, draw.derive("color jitter"))
  if (blur) blurSometimes(pixels, height, width, blur, draw.derive("blur"))
  return { ...frame, pixels, flipped: false, down: 0, right: 0 }
}

/**
 * One augmented view of an image: `pixels` RGB bytes, row-major, to `out` (as many float32, NHWC), by the numbers that
 * `draw` gives. Each value is written once.
 */
export const augment = (
  pixels: Uint8Array,
  size: Size,
  augmentation: Augmentation,
  table: ReadonlyArray<Float32Array>,
  draw: Random,
  out: Float32Array
): void => {
  const { height, width } = size
  const { flip, pad, erase } = augmentation
  const flipped = draw.chance(flip)
  const down = draw.int(2 * pad + 1) - pad
  const right = draw.int(2 * pad + 1) - pad
  const erased = erasedRectangle(draw, erase, size)
  const black: Colour = [table[0]![0]!, table[1]![0]!, table[2]![0]!]
  const frame = recoloured({ pixels, size, table, flipped, down, right, black }, augmentation, draw)
  for (let y = 0; y < height; y++)
    if (y >= erased.top && y < erased.bottom) {
      writeColumns(frame, y, 0, erased.left, out)
      paint(erasedFill, out, (y * width + erased.left) * 3, erased.right - erased.left)
      writeColumns(frame, y, erased.right, width, out)
    } else writeColumns(frame, y, 0, width, out)
}
