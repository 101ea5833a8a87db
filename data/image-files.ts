/** Image files of any kind → RGB pixels of one size; and which files of a data set do not decode. */
import { readFile } from "node:fs"
import { availableParallelism } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { Effect, Schema } from "effect"
import sharp from "sharp"
import type { Dataset } from "#data/dataset.ts"
import { filesAtOnce, type ImageDecoder, imageDecoder, jpegFrame } from "#engine/decode-images.ts"
import { Session } from "#engine/session.ts"

/** An image file does not decode: it is truncated, empty or no image. */
export class ImageUndecodable extends Schema.TaggedError<ImageUndecodable>()("ImageUndecodable", {
  file: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `${this.file}: does not decode: ${this.problem}. Replace the file or take it out of the data set.`
  }
}

const undecodable = (file: string) => (cause: unknown) =>
  new ImageUndecodable({ file, problem: (cause as Error).message.trim().replaceAll("\n", "; ") })

/** A file that is read and not decoded yet. */
export interface ImageFile {
  readonly path: string
  readonly content: Uint8Array
  /** Where its RGB bytes belong. */
  readonly place: Uint8Array
}

// Reading by callbacks takes a third of the time that `fs.promises` takes.
const readContent = promisify(readFile)

/** Reads a file whose pixels are to come to `place`; rejects with an `ImageUndecodable`. */
export const readImageFile = (path: string, place: Uint8Array): Promise<ImageFile> =>
  readContent(path).then(
    (content) => ({ path, content, place }),
    (cause) => Promise.reject(undecodable(path)(cause))
  )

/** An image of a person has thousands of pixels; one that claims more than this is refused by its header, before any memory is taken. */
const mostPixels = 2 ** 26

/** Whether TensorFlow is to decode a file: a whole JPEG of a photograph's kind. All others are sharp's. */
const isPlainJpeg = (file: Uint8Array) => {
  const frame = jpegFrame(file)
  const ends = file.at(-2) === 0xff && file.at(-1) === 0xd9
  return ends && frame !== undefined && (frame.channels === 1 || frame.channels === 3) && frame.pixels <= mostPixels
}

/** Files that sharp decodes at a time. */
const concurrency = availableParallelism() + 1

/** Decodes any image file that sharp knows. */
const decodeBySharp = (decoder: ImageDecoder, { path, content, place }: ImageFile) =>
  Effect.tryPromise({
    try: () =>
      sharp(content, { failOn: "truncated", limitInputPixels: mostPixels })
        .removeAlpha()
        .toColourspace("srgb")
        .raw()
        .toBuffer({ resolveWithObject: true }),
    catch: undecodable(path)
  }).pipe(Effect.map(({ data, info }) => decoder.resize(data, info.height, info.width, place)))

/**
 * Decodes up to `filesAtOnce` files to their places, and gives those that do not decode, in their order. An image depends
 * on its own file alone, whatever its neighbours are.
 */
export const decodeFiles = (
  decoder: ImageDecoder,
  files: ReadonlyArray<ImageFile>
): Effect.Effect<ReadonlyArray<ImageUndecodable>> =>
  Effect.suspend(() => {
    const decodes = (some: ReadonlyArray<ImageFile>) =>
      decoder.decode(
        some.map(({ content }) => content),
        some.map(({ place }) => place)
      )
    const plain = files.filter(({ content }) => isPlainJpeg(content))
    const together = plain.length === 0 || decodes(plain)
    const decoded = new Set(together ? plain : plain.filter((file) => decodes([file])))
    const others = files.filter((file) => !decoded.has(file))
    return Effect.map(
      Effect.partition(others, (file) => decodeBySharp(decoder, file), { concurrency }),
      ([, problems]) => problems
    )
  })

/** All images of a data set that do not decode, in the order of the splits; `onProgress` gets how many were tried. */
export const undecodableImages = Effect.fn("undecodableImages")(function* (
  { root, splits }: Dataset,
  onProgress: (done: number) => void
) {
  const { tf } = yield* Session
  // Their pixels are let go, so a size of few bytes will do.
  const [height, width] = [4, 4]
  const decoder = yield* imageDecoder(tf, height, width)
  const paths = Object.values(splits).flatMap((entries) => entries.map(({ image }) => join(root, image)))
  const found: Array<ImageUndecodable> = []
  for (let start = 0; start < paths.length; start += filesAtOnce) {
    const [files, unread] = yield* Effect.partition(
      paths.slice(start, start + filesAtOnce),
      (path) =>
        Effect.tryPromise({
          try: () => readImageFile(path, new Uint8Array(height * width * 3)),
          catch: (error) => error as ImageUndecodable
        }),
      { concurrency: "unbounded" }
    )
    const broken = files.length > 0 ? yield* decodeFiles(decoder, files) : []
    const wrong = new Map([...unread, ...broken].map((problem) => [problem.file, problem]))
    found.push(...paths.slice(start, start + filesAtOnce).flatMap((path) => wrong.get(path) ?? []))
    onProgress(Math.min(start + filesAtOnce, paths.length))
  }
  return found
}, Effect.scoped)
