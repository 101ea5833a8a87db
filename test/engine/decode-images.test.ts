import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { Effect } from "effect"
import sharp from "sharp"
import { describe, expect, it } from "vitest"
import { filesAtOnce, type ImageDecoder, imageDecoder, jpegFrame } from "#engine/decode-images.ts"
import { Session } from "#engine/session.ts"
import { noise } from "../foreign/noise.ts"
import { run } from "../stages/run-stage.ts"

/** What PIL makes of the same images; resize.py beside it writes it. */
const golden = JSON.parse(readFileSync(new URL("../foreign/resize.json", import.meta.url), "utf8")) as {
  readonly resized: ReadonlyArray<{ readonly from: [number, number]; readonly to: [number, number]; sha256: string }>
  readonly decoded: ReadonlyArray<{ readonly file: string; readonly to: [number, number]; sha256: string }>
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

const withDecoder = <A>([height, width]: readonly [number, number], use: (decoder: ImageDecoder) => A) =>
  run(Effect.flatMap(Session, ({ tf }) => Effect.map(imageDecoder(tf, height, width), use)))

const resized = (image: Uint8Array, [height, width]: readonly [number, number], to: readonly [number, number]) =>
  withDecoder(to, (decoder) => {
    const place = new Uint8Array(to[0] * to[1] * 3)
    decoder.resize(image, height, width, place)
    return place
  })

const solid = (r: number, g: number, b: number) =>
  sharp({ create: { width: 8, height: 16, channels: 3, background: { r, g, b } } })

describe("resizing", () => {
  it.each(golden.resized)("gives PIL's bytes from $from to $to", async ({ from, to, sha256: expected }) => {
    expect(sha256(await resized(noise(...from), from, to))).toBe(expected)
  })

  it.each([
    [3, 5, 7, 2],
    [20, 9, 4, 30],
    [1, 1, 3, 3]
  ])("keeps an image of one colour: %i × %i to %i × %i", async (height, width, toHeight, toWidth) => {
    for (const colour of [
      [0, 255, 1],
      [254, 128, 77]
    ]) {
      const image = Uint8Array.from({ length: height * width * 3 }, (_, at) => colour[at % 3]!)
      const out = await resized(image, [height, width], [toHeight, toWidth])
      expect(out).toEqual(Uint8Array.from({ length: toHeight * toWidth * 3 }, (_, at) => colour[at % 3]!))
    }
  })

  it("leaves an image of the asked size as it is", async () => {
    for (const size of [
      [5, 3],
      [16, 8]
    ] as Array<[number, number]>)
      expect(await resized(noise(...size), size, size)).toEqual(noise(...size))
  })
})

describe("decoding", () => {
  it.each(golden.decoded)("gives PIL's bytes of a JPEG file", async ({ file, to, sha256: expected }) => {
    const place = new Uint8Array(to[0] * to[1] * 3)
    expect(await withDecoder(to, ({ decode }) => decode([Buffer.from(file, "base64")], [place]))).toBe(true)
    expect(sha256(place)).toBe(expected)
  })

  it("writes each of several images to its own place", async () => {
    const greys = Array.from({ length: filesAtOnce }, (_, index) => 8 * index)
    const files = await Promise.all(greys.map((grey) => solid(grey, grey, grey).jpeg({ quality: 100 }).toBuffer()))
    const pixels = new Uint8Array(filesAtOnce * 12)
    const places = greys.map((_, index) => pixels.subarray(index * 12, (index + 1) * 12))
    expect(await withDecoder([2, 2], ({ decode }) => decode(files, places))).toBe(true)
    expect(pixels).toEqual(Uint8Array.from({ length: pixels.length }, (_, at) => greys[Math.floor(at / 12)]!))
  })

  it("refuses several files where one is broken, writes nothing, and goes on", async () => {
    const good = await solid(9, 9, 9).jpeg({ quality: 100 }).toBuffer()
    const places = [new Uint8Array(12), new Uint8Array(12)]
    const answers = await withDecoder([2, 2], ({ decode }) => [
      decode([good, good.subarray(0, good.length / 2)], places),
      places.every((place) => place.every((value) => value === 0)),
      decode([good], places)
    ])
    expect(answers).toEqual([false, true, true])
    expect([...places[0]!]).toEqual(Array(12).fill(9))
  })
})

describe("the frame of a JPEG file", () => {
  it("is found in files of any kind", async () => {
    expect(jpegFrame(await solid(1, 2, 3).jpeg().toBuffer())).toEqual({ pixels: 128, channels: 3 })
    expect(jpegFrame(await solid(1, 2, 3).jpeg({ progressive: true }).toBuffer())).toEqual({ pixels: 128, channels: 3 })
    expect(jpegFrame(await solid(1, 2, 3).toColourspace("b-w").jpeg().toBuffer())).toEqual({ pixels: 128, channels: 1 })
    expect(jpegFrame(await solid(1, 2, 3).toColourspace("cmyk").jpeg().toBuffer())).toEqual({
      pixels: 128,
      channels: 4
    })
    expect(
      jpegFrame(
        await solid(1, 2, 3)
          .withExif({ IFD0: { Copyright: "none" } })
          .jpeg()
          .toBuffer()
      )?.pixels
    ).toBe(128)
  })

  it("is missing from what is no JPEG or ends before it", async () => {
    const file = await solid(1, 2, 3).jpeg().toBuffer()
    for (const other of [
      await solid(1, 2, 3).png().toBuffer(),
      Buffer.alloc(0),
      file.subarray(0, 60),
      Buffer.alloc(99, 255)
    ])
      expect(jpegFrame(other)).toBeUndefined()
  })
})
