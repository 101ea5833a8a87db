/**
 * Gaussian blur of RGB bytes, as OpenUnReID has it (from SimCLR and MoCo), by PIL's `GaussianBlur`: three extended box filters along
 * each axis, rounded to bytes after each. Source: Gwosdek et al., "Theoretical Foundations of Gaussian Convolution by Extended Box
 * Filtering", 2011.
 */
import type { Blur } from "#data/augmentation-settings.ts"
import type { Random } from "#data/random.ts"

const passes = 3

/** Radius of the box, with a fraction, of which `passes` filters have the given deviation; in float32, as PIL computes it. */
const boxRadius = (sigma: number): number => {
  const { fround } = Math
  const variance = fround(fround(fround(sigma) * fround(sigma)) / passes)
  const length = fround(Math.sqrt(12 * variance + 1))
  const whole = Math.floor((length - 1) / 2)
  const above = fround((2 * whole + 1) * fround(whole * (whole + 1) - fround(3 * variance)))
  const below = fround(6 * fround(variance - (whole + 1) * (whole + 1)))
  return fround(whole + fround(above / below))
}

/** One box filter along a line of `count` bytes, each `step` after the last; what lies outside is the edge's value. */
const filterLine = (
  from: Uint8Array,
  to: Uint8Array,
  start: number,
  step: number,
  count: number,
  radius: number
): void => {
  const inner = Math.floor(radius)
  // In 1/2²⁴: the weight of a value inside the box, and of the two at its border.
  const weight = Math.floor(Math.fround(2 ** 24 / Math.fround(radius * 2 + 1)))
  const border = Math.floor((2 ** 24 - (inner * 2 + 1) * weight) / 2)
  const value = (i: number) => from[start + Math.max(0, Math.min(count - 1, i)) * step]!
  let sum = 0
  for (let i = -inner - 1; i < inner; i++) sum += value(i)
  for (let x = 0; x < count; x++) {
    sum += value(x + inner) - value(x - inner - 1)
    const bulk = sum * weight + (value(x - inner - 1) + value(x + inner + 1)) * border
    to[start + x * step] = Math.floor((bulk + 2 ** 23) / 2 ** 24)
  }
}

/** Blurs an image in place; a sigma of 0 leaves it. */
export const gaussianBlur = (pixels: Uint8Array, height: number, width: number, sigma: number): void => {
  const radius = boxRadius(sigma)
  if (radius === 0) return
  const other = new Uint8Array(pixels.length)
  const axis = (lines: number, line: number, step: number, count: number) => {
    let [from, to]: [Uint8Array, Uint8Array] = [pixels, other]
    for (let pass = 0; pass < passes; pass++) {
      for (let i = 0; i < lines; i++)
        for (let channel = 0; channel < 3; channel++) filterLine(from, to, i * line + channel, step, count, radius)
      ;[from, to] = [to, from]
    }
    // Three passes end in the other array.
    pixels.set(other)
  }
  axis(height, width * 3, 3, width)
  axis(width, 3, width * 3, height)
}

/** Blurs in place by what `draw` gives, or leaves the image. */
export const blurSometimes = (
  pixels: Uint8Array,
  height: number,
  width: number,
  { probability, sigma }: Blur,
  draw: Random
): void => {
  if (draw.chance(probability)) gaussianBlur(pixels, height, width, draw.uniform(sigma[0]!, sigma[1]!))
}
