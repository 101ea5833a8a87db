/** Image files, as the decode stage reads them. */
import { Effect } from "effect"
import sharp from "sharp"
import { decodeFiles, type ImageUndecodable, readImageFile } from "#data/image-files.ts"
import { imageDecoder } from "#engine/decode-images.ts"
import { Session } from "#engine/session.ts"
import { digestOf, type Example, type Subject } from "./subject.ts"

const [height, width] = [16, 8]

/** A drawing with edges and slopes, so that the file has every kind of coefficient. */
const drawing = () => {
  const pixels = Uint8Array.from({ length: 48 * 24 * 3 }, (_, i) => (i * 7 + (i >> 5) * 31) & 255)
  return sharp(pixels, { raw: { width: 24, height: 48, channels: 3 } })
}

export const imageSubject = async (): Promise<Subject> => {
  const files: ReadonlyArray<readonly [string, Buffer]> = [
    ["baseline", await drawing().jpeg({ quality: 80 }).toBuffer()],
    ["progressive", await drawing().jpeg({ progressive: true, mozjpeg: true }).toBuffer()],
    ["grey", await drawing().greyscale().jpeg().toBuffer()],
    ["cmyk", await drawing().toColourspace("cmyk").jpeg().toBuffer()],
    ["png", await drawing().png().toBuffer()]
  ]
  return {
    name: "image",
    ending: ".jpg",
    examples: files.map(([name, bytes]): Example => {
      const pixels = bytes.indexOf(Buffer.of(0xff, 0xda))
      return { name, bytes, structure: [[0, pixels > 0 ? pixels + 14 : 64]] }
    }),
    read: (path) =>
      Effect.gen(function* () {
        const { tf } = yield* Session
        const decoder = yield* imageDecoder(tf, height, width)
        const place = new Uint8Array(height * width * 3)
        const file = yield* Effect.tryPromise({
          try: () => readImageFile(path, place),
          catch: (cause) => cause as ImageUndecodable
        })
        const [problem] = yield* decodeFiles(decoder, [file])
        if (problem) return yield* problem
        return { shape: "", values: digestOf(place) }
      }),
    unnoticed: "anything"
  }
}
