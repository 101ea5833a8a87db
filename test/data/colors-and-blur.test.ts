/** Colour jitter and blur: PIL's bytes, and what they draw. */
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { adjustBrightness, adjustContrast, adjustHue, adjustSaturation, jitterColors } from "#data/color-jitter.ts"
import { blurSometimes, gaussianBlur } from "#data/gaussian-blur.ts"
import { random } from "#data/random.ts"
import { noise } from "../foreign/noise.ts"

/** What PIL and torchvision make of the same images; augment.py beside it writes it. */
const golden = JSON.parse(readFileSync(new URL("../foreign/augment.json", import.meta.url), "utf8")) as ReadonlyArray<{
  readonly adjustment: keyof typeof adjustments
  readonly factor: number
  readonly sha256: string
}>

const adjustments = {
  brightness: (pixels: Uint8Array, _: unknown, factor: number) => adjustBrightness(pixels, factor),
  contrast: (pixels: Uint8Array, _: unknown, factor: number) => adjustContrast(pixels, factor),
  saturation: (pixels: Uint8Array, _: unknown, factor: number) => adjustSaturation(pixels, factor),
  hue: (pixels: Uint8Array, _: unknown, factor: number) => adjustHue(pixels, factor),
  blur: (pixels: Uint8Array, [height, width]: readonly [number, number], sigma: number) =>
    gaussianBlur(pixels, height, width, sigma)
}

const sizes: ReadonlyArray<[height: number, width: number]> = [
  [32, 16],
  [7, 5],
  [1, 3],
  [64, 33]
]
const every5th = Array.from({ length: 52 }, (_, i) => 5 * i)
const colours = every5th.flatMap((r) => every5th.flatMap((g) => every5th.flatMap((b) => [r, g, b])))

describe("an image's bytes", () => {
  it.each(golden)("are PIL's after $adjustment by $factor", ({ adjustment, factor, sha256 }) => {
    const hash = createHash("sha256")
    const add = (pixels: Uint8Array, size: readonly [number, number]) => {
      adjustments[adjustment](pixels, size, factor)
      hash.update(pixels)
    }
    for (const size of sizes) {
      add(noise(...size), size)
      add(
        noise(...size).map((value) => 64 + (value >> 1)),
        size
      )
    }
    add(Uint8Array.from(colours), [52 * 52, 52])
    expect(hash.digest("hex")).toBe(sha256)
  })
})

const jittered = (settings: Partial<Parameters<typeof jitterColors>[1]>, ...key: ReadonlyArray<number>) => {
  const pixels = noise(8, 4)
  const none = { probability: 1, brightness: 0, contrast: 0, saturation: 0, hue: 0 }
  jitterColors(pixels, { ...none, ...settings }, random(...key))
  return pixels
}

describe("colour jitter", () => {
  const all = { brightness: 0.2, contrast: 0.2, saturation: 0.2, hue: 0.1 }

  it("leaves out what does not spread, and as many images as its probability says", () => {
    expect(jittered({})).toEqual(noise(8, 4))
    const draws = Array.from({ length: 400 }, (_, i) => jittered({ ...all, probability: 0.3 }, i))
    const untouched = draws.filter((pixels) => pixels.every((value, at) => value === noise(8, 4)[at])).length
    expect(Math.abs(untouched / 400 - 0.7)).toBeLessThan(4 * Math.sqrt((0.3 * 0.7) / 400))
  })

  it("draws each factor around 1 and never below 0", () => {
    const white = (spread: number, seed: number) => {
      const pixels = new Uint8Array(3).fill(100)
      jitterColors(pixels, { probability: 1, brightness: spread, contrast: 0, saturation: 0, hue: 0 }, random(seed))
      return pixels[0]! / 100
    }
    const factors = (spread: number) => Array.from({ length: 300 }, (_, seed) => white(spread, seed))
    expect(Math.min(...factors(0.2))).toBeGreaterThanOrEqual(0.79)
    expect(Math.min(...factors(0.2))).toBeLessThan(0.82)
    expect(Math.max(...factors(0.2))).toBeLessThanOrEqual(1.2)
    expect(Math.max(...factors(0.2))).toBeGreaterThan(1.17)
    expect(Math.min(...factors(1.5))).toBeLessThan(0.05)
  })

  it("draws the order of the adjustments too", () => {
    const settings = { probability: 1, brightness: 0.5, contrast: 0.5, saturation: 0, hue: 0 }
    const orders = Array.from({ length: 200 }, (_, seed) => {
      const found = noise(8, 4)
      jitterColors(found, settings, random(seed))
      const draw = random(seed)
      draw.chance(1)
      const [brightness, contrast] = [draw.uniform(0.5, 1.5), draw.uniform(0.5, 1.5)]
      const [first, second] = [noise(8, 4), noise(8, 4)]
      adjustBrightness(first, brightness)
      adjustContrast(first, contrast)
      adjustContrast(second, contrast)
      adjustBrightness(second, brightness)
      expect([String(first), String(second)]).toContain(String(found))
      return String(first) === String(second) ? "either" : String(first) === String(found) ? "brightness" : "contrast"
    })
    for (const order of ["brightness", "contrast"])
      expect(orders.filter((one) => one === order).length).toBeGreaterThan(60)
  })
})

describe("blur", () => {
  it("leaves as many images as its probability says, and the mean of those that it blurs about where it was", () => {
    const mean = (pixels: Uint8Array) => pixels.reduce((a, b) => a + b, 0) / pixels.length
    let blurred = 0
    for (let i = 0; i < 400; i++) {
      const pixels = noise(12, 9)
      blurSometimes(pixels, 12, 9, { probability: 0.3, sigma: [1, 2] }, random(i))
      if (String(pixels) === String(noise(12, 9))) continue
      blurred++
      expect(Math.abs(mean(pixels) - mean(noise(12, 9)))).toBeLessThan(6)
    }
    expect(Math.abs(blurred / 400 - 0.3)).toBeLessThan(4 * Math.sqrt((0.3 * 0.7) / 400))
  })
})
