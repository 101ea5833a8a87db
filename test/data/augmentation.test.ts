import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { augment, imagenetNormalisation, normalisationTable, normalise, type Size } from "#data/augmentation.ts"
import type { Augmentation } from "#data/augmentation-settings.ts"
import { jitterColors } from "#data/color-jitter.ts"
import { blurSometimes } from "#data/gaussian-blur.ts"
import { random } from "#data/random.ts"

const table = normalisationTable(imagenetNormalisation)
const nothing: Augmentation = { flip: 0, pad: 0, erase: 0 }

const sized = fc.record({ height: fc.integer({ min: 1, max: 16 }), width: fc.integer({ min: 1, max: 12 }) })
const pictured = sized.chain((size) => {
  const bytes = size.height * size.width * 3
  return fc.record({
    size: fc.constant(size),
    pixels: fc.uint8Array({ minLength: bytes, maxLength: bytes }),
    seed: fc.integer()
  })
})

const view = (pixels: Uint8Array, size: Size, augmentation: Augmentation, ...key: ReadonlyArray<number>) => {
  const out = new Float32Array(pixels.length).fill(Number.NaN)
  augment(pixels, size, augmentation, table, random(...key), out)
  return out
}

const plain = (pixels: Uint8Array) => {
  const out = new Float32Array(pixels.length)
  normalise(pixels, table, out)
  return out
}

const pixelAt = (values: ArrayLike<number>, { width }: Size, y: number, x: number) =>
  [0, 1, 2].map((channel) => values[(y * width + x) * 3 + channel]!)

const black = [0, 1, 2].map((channel) => table[channel]![0]!)
const fill = Array.from(Float32Array.from(imagenetNormalisation.mean))

/** The transform as a formula of each value, by the same draws; as in the reference, erasing comes last. */
const formula = (pixels: Uint8Array, size: Size, { flip, pad, erase }: Augmentation, ...key: ReadonlyArray<number>) => {
  const { height, width } = size
  const draw = random(...key)
  const flipped = draw.chance(flip)
  const [down, right] = [draw.int(2 * pad + 1) - pad, draw.int(2 * pad + 1) - pad]
  const valueAt = (y: number, x: number, channel: number) => {
    const [fromY, fromX] = [y + down, x + right]
    if (fromY < 0 || fromY >= height || fromX < 0 || fromX >= width) return table[channel]![0]!
    return table[channel]![pixels[(fromY * width + (flipped ? width - 1 - fromX : fromX)) * 3 + channel]!]!
  }
  const values = Float32Array.from(pixels, (_, at) =>
    valueAt(Math.floor(at / 3 / width), Math.floor(at / 3) % width, at % 3)
  )
  if (!draw.chance(erase)) return values
  for (let attempt = 0; attempt < 100; attempt++) {
    const area = draw.uniform(0.02, 0.4) * height * width
    const aspect = draw.uniform(0.3, 1 / 0.3)
    const [h, w] = [Math.round(Math.sqrt(area * aspect)), Math.round(Math.sqrt(area / aspect))]
    if (w >= width || h >= height) continue
    const [top, left] = [draw.int(height - h + 1), draw.int(width - w + 1)]
    for (let y = top; y < top + h; y++) for (let x = left; x < left + w; x++) values.set(fill, (y * width + x) * 3)
    break
  }
  return values
}

describe("normalise", () => {
  it("is (byte / 255 − mean) / std of the channel", () => {
    const out = plain(Uint8Array.of(0, 128, 255, 255, 0, 1))
    const { mean, std } = imagenetNormalisation
    const expected = [0, 128, 255, 255, 0, 1].map((byte, i) => (byte / 255 - mean[i % 3]!) / std[i % 3]!)
    expect([...out]).toEqual([...Float32Array.from(expected)])
  })
})

describe("augment", () => {
  it("is the formula of each value, whatever is drawn, padding wider than the image too", () => {
    const probability = fc.constantFrom(0, 0.5, 1)
    const settings = fc.record({ flip: probability, pad: fc.integer({ min: 0, max: 20 }), erase: probability })
    fc.assert(
      fc.property(pictured, settings, ({ pixels, size, seed }, augmentation) => {
        expect(view(pixels, size, augmentation, seed)).toEqual(formula(pixels, size, augmentation, seed))
      }),
      { numRuns: 300 }
    )
  })

  it("jitters colours and blurs what the crop shows, padding too, before it normalises and erases", () => {
    const byteOf = table.map((values) => new Map(values.entries().map(([byte, value]) => [value, byte])))
    const colorJitter = { probability: 0.8, brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.3 }
    const blur = { probability: 0.8, sigma: [0.5, 2] }
    const settings = fc.record({ flip: fc.constantFrom(0, 1), pad: fc.integer({ min: 0, max: 5 }) })
    fc.assert(
      fc.property(pictured, settings, ({ pixels, size, seed }, moved) => {
        const whole = view(pixels, size, { ...moved, erase: 0 }, seed)
        const bytes = Uint8Array.from(whole, (value, at) => byteOf[at % 3]!.get(value)!)
        jitterColors(bytes, colorJitter, random(seed).derive("color jitter"))
        blurSometimes(bytes, size.height, size.width, blur, random(seed).derive("blur"))
        expect(view(pixels, size, { ...moved, erase: 0, colorJitter, blur }, seed)).toEqual(plain(bytes))
        const erased = view(pixels, size, { ...moved, erase: 1 }, seed)
        const all = view(pixels, size, { ...moved, erase: 1, colorJitter, blur }, seed)
        const expected = plain(bytes).map((value, at) => (erased[at] === fill[at % 3] ? erased[at]! : value))
        expect(all).toEqual(expected)
      }),
      { numRuns: 100 }
    )
  })

  it("without flip, padding and erasing only normalises", () => {
    fc.assert(
      fc.property(pictured, ({ pixels, size, seed }) => {
        expect(view(pixels, size, nothing, seed)).toEqual(plain(pixels))
      })
    )
  })

  it("flips exactly left to right", () => {
    fc.assert(
      fc.property(pictured, ({ pixels, size, seed }) => {
        const flipped = view(pixels, size, { ...nothing, flip: 1 }, seed)
        const straight = plain(pixels)
        for (let y = 0; y < size.height; y++)
          for (let x = 0; x < size.width; x++)
            expect(pixelAt(flipped, size, y, x)).toEqual(pixelAt(straight, size, y, size.width - 1 - x))
      })
    )
  })

  it("crops the padded image at one offset within the padding; what lies outside is black, normalised", () => {
    fc.assert(
      fc.property(pictured, fc.integer({ min: 1, max: 6 }), fc.boolean(), ({ pixels, size, seed }, pad, flip) => {
        const found = view(pixels, size, { flip: flip ? 1 : 0, pad, erase: 0 }, seed)
        const whole = view(pixels, size, { ...nothing, flip: flip ? 1 : 0 }, seed)
        const cropped = (down: number, right: number) =>
          Float32Array.from({ length: found.length }, (_, at) => {
            const [y, x] = [Math.floor(at / 3 / size.width) + down, (Math.floor(at / 3) % size.width) + right]
            const inside = y >= 0 && y < size.height && x >= 0 && x < size.width
            return inside ? whole[(y * size.width + x) * 3 + (at % 3)]! : black[at % 3]!
          })
        const offsets = Array.from({ length: 2 * pad + 1 }, (_, i) => i - pad)
        const fits = offsets.some((down) =>
          offsets.some((right) => cropped(down, right).every((value, at) => value === found[at]))
        )
        expect(fits).toBe(true)
      }),
      { numRuns: 50 }
    )
  })

  it("draws every offset from −pad to pad, both ends, in both directions", () => {
    const size = { height: 8, width: 8 }
    const pixels = Uint8Array.from({ length: 8 * 8 * 3 }, (_, at) => Math.floor(at / 3) + 1)
    const red = new Map(table[0]!.entries().map(([byte, value]) => [value, byte]))
    const offsets = Array.from({ length: 400 }, (_, seed) => {
      const values = view(pixels, size, { ...nothing, pad: 2 }, seed)
      // The centre is inside for every offset.
      const from = red.get(values[(4 * 8 + 4) * 3]!)! - 1
      return [Math.floor(from / 8) - 4, (from % 8) - 4] as const
    })
    const range = [-2, -1, 0, 1, 2]
    expect([...new Set(offsets.map(([down]) => down))].sort((a, b) => a - b)).toEqual(range)
    expect([...new Set(offsets.map(([, right]) => right))].sort((a, b) => a - b)).toEqual(range)
  })

  it("erases one rectangle of 2 to 40 % of the area and aspect 0.3 to 1/0.3, filled with the reference's value", () => {
    const size = { height: 64, width: 32 }
    const pixels = new Uint8Array(64 * 32 * 3).fill(200)
    let erasedImages = 0
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const values = view(pixels, size, { ...nothing, erase: 1 }, seed)
        const erased = Array.from({ length: 64 * 32 }, (_, at) => at).filter((at) => values[at * 3] === fill[0])
        if (erased.length === 0) return
        erasedImages++
        const [ys, xs] = [erased.map((at) => Math.floor(at / 32)), erased.map((at) => at % 32)]
        const h = Math.max(...ys) - Math.min(...ys) + 1
        const w = Math.max(...xs) - Math.min(...xs) + 1
        expect(erased.length).toBe(h * w)
        expect(h).toBeLessThan(64)
        expect(w).toBeLessThan(32)
        for (const at of erased) expect(pixelAt(values, size, Math.floor(at / 32), at % 32)).toEqual(fill)
        // Height and width are rounded to whole pixels.
        const share = [(h - 0.5) * (w - 0.5), (h + 0.5) * (w + 0.5)]
        expect(share[1]).toBeGreaterThan(0.02 * 64 * 32)
        expect(share[0]).toBeLessThan(0.4 * 64 * 32)
        expect((h + 0.5) / (w - 0.5)).toBeGreaterThan(0.3)
        expect((h - 0.5) / (w + 0.5)).toBeLessThan(1 / 0.3)
        const untouched = plain(pixels)
        for (let at = 0; at < 64 * 32; at++) if (!erased.includes(at)) expect(values[at * 3]).toBe(untouched[at * 3])
      }),
      { numRuns: 60 }
    )
    expect(erasedImages).toBeGreaterThan(50)
  })

  it("flips and erases as often as asked", () => {
    const size = { height: 16, width: 8 }
    const pixels = Uint8Array.from({ length: 16 * 8 * 3 }, (_, at) => at % 251)
    const share = (happened: (seed: number) => boolean) =>
      Array.from({ length: 1000 }, (_, seed) => happened(seed)).filter(Boolean).length / 1000
    const straight = plain(pixels)
    const flips = share((seed) => view(pixels, size, { ...nothing, flip: 0.3 }, seed)[0] !== straight[0])
    expect(flips).toBeGreaterThan(0.25)
    expect(flips).toBeLessThan(0.35)
    const erases = share((seed) => view(pixels, size, { ...nothing, erase: 0.5 }, seed).some((v) => v === fill[0]))
    expect(erases).toBeGreaterThan(0.45)
    expect(erases).toBeLessThan(0.55)
  })

  it("gives the same bytes for the same key and others for another", () => {
    const size = { height: 32, width: 16 }
    const pixels = Uint8Array.from({ length: 32 * 16 * 3 }, (_, at) => (at * 7) % 256)
    const all = { flip: 0.5, pad: 10, erase: 0.5 }
    expect(view(pixels, size, all, 1, 2, 3)).toEqual(view(pixels, size, all, 1, 2, 3))
    expect(view(pixels, size, all, 1, 2, 3)).not.toEqual(view(pixels, size, all, 1, 2, 4))
  })
})
