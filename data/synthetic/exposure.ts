/**
 * From a drawn canvas to the bytes of a photograph: averaging four by four, the tone curves, blur and noise. Works
 * in 1/256 levels of integers, so that the last bits of a power or a logarithm never reach an image.
 */
import { normalQuantile } from "#data/random.ts"
import type { Shot, Tone } from "#data/synthetic/camera.ts"
import { CANVAS } from "#data/synthetic/figure.ts"

/** How many times the canvas is larger than the image, in either direction. */
const OVERSAMPLING = 4

/** The images' size. */
export const IMAGE = { width: CANVAS.width / OVERSAMPLING, height: CANVAS.height / OVERSAMPLING } as const

/** A level of 0 to 255 is so many units. */
const UNITS = 256

/** 4,096 equally likely values of a standard normal number, in 1/1024. */
const NORMALS = Int16Array.from({ length: 4096 }, (_, i) => Math.round(normalQuantile((i + 0.5) / 4096) * 1024))

/**
 * The photograph of one canvas: RGB, `IMAGE.height · IMAGE.width · 3` bytes, row-major. `pixels` holds canvases one below
 * the other, four bytes a pixel (the last is not used), and `index` says which one is meant.
 */
export const expose = (pixels: Uint8Array, index: number, shot: Shot): Uint8Array => {
  const levels = average(pixels, index * CANVAS.width * CANVAS.height * 4)
  const toned = applyTones(levels, shot.tones)
  return addNoise(blur(toned, shot.blur), shot)
}

/** The mean of each block of 4 × 4 pixels, rounded to a level. */
const average = (pixels: Uint8Array, start: number): Uint8Array => {
  const { height, width } = IMAGE
  const levels = new Uint8Array(height * width * 3)
  // A pixel is one number: red in its lowest byte, then green and blue, of which red and blue are added at once.
  const canvas = new Uint32Array(pixels.buffer, pixels.byteOffset + start, CANVAS.width * CANVAS.height)
  let at = 0
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const corner = (y * CANVAS.width + x) * OVERSAMPLING
      let redAndBlue = 0x80008
      let green = 8
      for (let line = corner; line < corner + OVERSAMPLING * CANVAS.width; line += CANVAS.width)
        for (let i = line; i < line + OVERSAMPLING; i++) {
          const pixel = canvas[i]!
          redAndBlue += pixel & 0xff00ff
          green += (pixel >> 8) & 0xff
        }
      levels[at++] = (redAndBlue & 0xffff) >> 4
      levels[at++] = green >> 4
      levels[at++] = redAndBlue >> 20
    }
  return levels
}

const clamp01 = (x: number) => Math.min(1, Math.max(0, x))

/** What the tones make of each level of a channel, one after the other, in units. */
const toneCurve = (tones: ReadonlyArray<Tone>, channel: 0 | 1 | 2): Int32Array =>
  Int32Array.from({ length: 256 }, (_, level) => {
    let value = level / 255
    for (const { brightness, contrast, gain, gamma } of tones)
      value = (clamp01(value * gain[channel]) ** gamma - 0.5) * contrast + 0.5 + brightness / 255
    return Math.round(value * 255 * UNITS)
  })

const applyTones = (levels: Uint8Array, tones: ReadonlyArray<Tone>): Int32Array => {
  const toned = new Int32Array(levels.length)
  for (const channel of [0, 1, 2] as const) {
    const curve = toneCurve(tones, channel)
    for (let i = channel; i < levels.length; i += 3) toned[i] = curve[levels[i]!]!
  }
  return toned
}

/**
 * Three taps a direction, v/2, 1 − v, v/2, whose variance v is the Gaussian's: at these widths (0.3 pixels and less) nearly
 * all of a Gaussian lies within them.
 */
const blur = (image: Int32Array, sigma: number): Int32Array => {
  const side = Math.round((sigma * sigma * UNITS) / 2)
  const row = IMAGE.width * 3
  const across = new Int32Array(image.length)
  for (let start = 0; start < image.length; start += row) blurLine(image, across, side, start, row, 3)
  const blurred = new Int32Array(image.length)
  blurLine(across, blurred, side, 0, image.length, row)
  return blurred
}

/** Blurs values along lines that lie `step` apart, `length` values from `start` on; the border repeats itself. */
const blurLine = (from: Int32Array, to: Int32Array, side: number, start: number, length: number, step: number) => {
  const end = start + length
  blurRange(from, to, side, start, start + step, 0, step)
  blurRange(from, to, side, start + step, end - step, step, step)
  blurRange(from, to, side, end - step, end, step, 0)
}

/** Blurs the values in a range by those `before` and `after` each. */
const blurRange = (
  from: Int32Array,
  to: Int32Array,
  side: number,
  start: number,
  end: number,
  before: number,
  after: number
) => {
  for (let at = start; at < end; at++)
    to[at] = (from[at]! * (UNITS - 2 * side) + (from[at - before]! + from[at + after]!) * side + UNITS / 2) >> 8
}

const addNoise = (image: Int32Array, shot: Shot): Uint8Array => {
  const noisy = new Uint8Array(image.length)
  // Units of a level times 1/1024 of a normal number.
  const scale = Math.round(shot.noise * UNITS)
  const random = shot.noiseFrom
  for (let i = 0; i < image.length; i += 2) {
    const draw = random.uint32()
    noisy[i] = level(image[i]! + ((NORMALS[draw & 4095]! * scale) >> 10))
    noisy[i + 1] = level(image[i + 1]! + ((NORMALS[(draw >>> 12) & 4095]! * scale) >> 10))
  }
  return noisy
}

const level = (units: number) => Math.min(255, Math.max(0, (units + UNITS / 2) >> 8))
