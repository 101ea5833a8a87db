/**
 * Colour jitter of RGB bytes, as torchvision's `ColorJitter` does it to a PIL image: brightness, contrast, saturation and hue, each
 * by a factor of its own, in an order drawn anew, every intermediate result rounded to bytes as PIL rounds it.
 */
import type { ColorJitter } from "#data/augmentation-settings.ts"
import type { Random } from "#data/random.ts"

/** Luma of ITU-R 601-2 in 1/65536, as PIL's mode "L". */
const grey = (pixels: Uint8Array, at: number): number =>
  (pixels[at]! * 19595 + pixels[at + 1]! * 38470 + pixels[at + 2]! * 7471 + 0x8000) >> 16

/** from + factor · (to − from) in float32, cut off to a byte. */
const blended = (from: number, to: number, factor: number): number =>
  Math.max(0, Math.min(255, Math.fround(from + Math.fround(factor * (to - from)))))

/** Between black (0), the image (1) and beyond. In place, as all here. */
export const adjustBrightness = (pixels: Uint8Array, factor: number): void => {
  const alpha = Math.fround(factor)
  for (let at = 0; at < pixels.length; at++) pixels[at] = blended(0, pixels[at]!, alpha)
}

/** Between the image's mean grey (0), the image (1) and beyond. */
export const adjustContrast = (pixels: Uint8Array, factor: number): void => {
  const alpha = Math.fround(factor)
  let sum = 0
  for (let at = 0; at < pixels.length; at += 3) sum += grey(pixels, at)
  const mean = Math.floor(sum / (pixels.length / 3) + 0.5)
  for (let at = 0; at < pixels.length; at++) pixels[at] = blended(mean, pixels[at]!, alpha)
}

/** Between the grey image (0), the image (1) and beyond. */
export const adjustSaturation = (pixels: Uint8Array, factor: number): void => {
  const alpha = Math.fround(factor)
  for (let at = 0; at < pixels.length; at += 3) {
    const luma = grey(pixels, at)
    for (let channel = at; channel < at + 3; channel++) pixels[channel] = blended(luma, pixels[channel]!, alpha)
  }
}

/** Hue and saturation of a colour as bytes, by PIL's float32 arithmetic; its value is its largest channel. */
const hueAndSaturation = (r: number, g: number, b: number): readonly [hue: number, saturation: number] => {
  const [high, low] = [Math.max(r, g, b), Math.min(r, g, b)]
  if (high === low) return [0, 0]
  const range = high - low
  const below = (channel: number) => Math.fround((high - channel) / range)
  const sextant =
    r === high ? Math.fround(below(b) - below(g)) : g === high ? 2 + below(r) - below(b) : 4 + below(g) - below(r)
  const hue = Math.fround((Math.fround(sextant) / 6 + 1) % 1)
  return [Math.floor(hue * 255), Math.floor(Math.fround(range / high) * 255)]
}

/** Writes the colour of these bytes of hue, saturation and value at `at`. */
const writeHsv = (pixels: Uint8Array, at: number, hue: number, saturation: number, value: number): void => {
  const sextant = (hue * 6) / 255
  const index = Math.floor(sextant)
  const fraction = Math.fround(Math.fround(sextant) - index)
  const share = Math.fround(saturation / 255)
  // Halves go up, and no number here is negative.
  const shade = (part: number) => Math.floor(value * (1 - part) + 0.5)
  const [p, q, t] = [shade(share), shade(share * fraction), shade(share * (1 - fraction))]
  const colour = [
    [value, t, p],
    [q, value, p],
    [p, value, t],
    [p, q, value],
    [t, p, value],
    [value, p, q]
  ][index % 6]!
  pixels.set(colour, at)
}

/** Turns the hue by a share of the circle, −0.5 to 0.5. */
export const adjustHue = (pixels: Uint8Array, factor: number): void => {
  const turn = Math.trunc(factor * 255)
  for (let at = 0; at < pixels.length; at += 3) {
    const [r, g, b] = [pixels[at]!, pixels[at + 1]!, pixels[at + 2]!]
    const [hue, saturation] = hueAndSaturation(r, g, b)
    const value = Math.max(r, g, b)
    if (saturation === 0) pixels.fill(value, at, at + 3)
    else writeHsv(pixels, at, (hue + turn) & 255, saturation, value)
  }
}

/** Jitters the colours in place by what `draw` gives, or leaves them. */
export const jitterColors = (
  pixels: Uint8Array,
  { probability, brightness, contrast, saturation, hue }: ColorJitter,
  draw: Random
): void => {
  if (!draw.chance(probability)) return
  const around = (spread: number) => draw.uniform(Math.max(0, 1 - spread), 1 + spread)
  const adjustments = [
    [brightness, adjustBrightness, around(brightness)],
    [contrast, adjustContrast, around(contrast)],
    [saturation, adjustSaturation, around(saturation)],
    [hue, adjustHue, draw.uniform(-hue, hue)]
  ] as const
  for (const [spread, adjust, factor] of draw.shuffle(adjustments)) if (spread > 0) adjust(pixels, factor)
}
