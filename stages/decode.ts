/** decode: the image files of one split of a data set → pixels of one size, in shards. */
import { readFile } from "node:fs"
import { cpus } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { Effect, Schema, Stream } from "effect"
import sharp from "sharp"
import { BatchMemory } from "#data/batch-memory.ts"
import { type ImageEntry, openDataset } from "#data/dataset.ts"
import { filesAtOnce, type ImageDecoder, imageDecoder, jpegFrame } from "#engine/decode-images.ts"
import { Session } from "#engine/session.ts"
import { ProgressListener, port, stage } from "#pipeline/stage.ts"
import { batchOf } from "#schemas/artifact.ts"
import { images } from "#schemas/images.ts"

const PositiveInt = Schema.Int.check(Schema.isGreaterThan(0))

export const DecodeParams = Schema.Struct({
  /** Layout of the data set's folder. */
  format: Schema.String.pipe(Schema.withDecodingDefaultKey(Effect.succeed("market1501"))),
  root: Schema.String,
  split: Schema.Literals(["train", "query", "gallery"]),
  height: PositiveInt.pipe(Schema.withDecodingDefaultKey(Effect.succeed(256))),
  width: PositiveInt.pipe(Schema.withDecodingDefaultKey(Effect.succeed(128)))
})

/** An image file does not decode: it is truncated, empty or no image. */
export class ImageUndecodable extends Schema.TaggedError<ImageUndecodable>()("ImageUndecodable", {
  file: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `${this.file}: does not decode: ${this.problem.trim().replaceAll("\n", "; ")}. Replace the file or take it out of the data set.`
  }
}

/** sharp refuses larger images; TensorFlow does not get them either. */
const mostPixels = 0x3fff ** 2

/** Whether TensorFlow is to decode a file: a whole JPEG of a photograph's kind. All others are sharp's. */
const isPlainJpeg = (file: Uint8Array) => {
  const frame = jpegFrame(file)
  const ends = file.at(-2) === 0xff && file.at(-1) === 0xd9
  return ends && frame !== undefined && (frame.channels === 1 || frame.channels === 3) && frame.pixels <= mostPixels
}

interface ImageFile {
  readonly path: string
  readonly content: Uint8Array
  /** Where its RGB bytes belong. */
  readonly place: Uint8Array
}

const undecodable = (file: string) => (cause: unknown) =>
  new ImageUndecodable({ file, problem: (cause as Error).message })

/** Decodes any image file that sharp knows. */
const decodeBySharp = (decoder: ImageDecoder, { path, content, place }: ImageFile) =>
  Effect.tryPromise({
    try: () =>
      sharp(content, { failOn: "truncated" })
        .removeAlpha()
        .toColourspace("srgb")
        .raw()
        .toBuffer({ resolveWithObject: true }),
    catch: undecodable(path)
  }).pipe(Effect.map(({ data, info }) => decoder.resize(data, info.height, info.width, place)))

/** Decodes files to their places. An image depends on its own file alone, whatever its neighbours are. */
const decodeFiles = (decoder: ImageDecoder, files: ReadonlyArray<ImageFile>) =>
  Effect.suspend(() => {
    const decodes = (some: ReadonlyArray<ImageFile>) =>
      decoder.decode(
        some.map(({ content }) => content),
        some.map(({ place }) => place)
      )
    const plain = files.filter(({ content }) => isPlainJpeg(content))
    const together = plain.length === 0 || decodes(plain)
    const decoded = new Set(together ? plain : plain.filter((file) => decodes([file])))
    return Effect.forEach(
      files.filter((file) => !decoded.has(file)),
      (file) => decodeBySharp(decoder, file),
      { concurrency: cpus().length + 1, discard: true }
    )
  })

// Reading by callbacks takes a third of the time that `fs.promises` takes.
const readContent = promisify(readFile)

const readImage = (path: string, place: Uint8Array): Promise<ImageFile> =>
  readContent(path).then(
    (content) => ({ path, content, place }),
    (cause) => Promise.reject(undecodable(path)(cause))
  )

const rowsPerBatch = 256

export const decodeStage = stage({
  name: "decode",
  version: 2,
  summary: "reads a split of a data set, decodes and resizes its images",
  params: DecodeParams,
  inputs: {},
  outputs: { images: port(images, "a row an image, sorted by file name") },
  run: (_, { format, root, split, height, width }) =>
    Effect.gen(function* () {
      const dataset = yield* openDataset(format, root)
      const progress = yield* ProgressListener
      const all = dataset.splits[split]
      const { tf } = yield* Session
      const decoder = yield* imageDecoder(tf, height, width)
      const bytes = height * width * 3
      let done = 0
      const memories = new BatchMemory()
      const readFiles = (part: ReadonlyArray<readonly [row: number, entry: ImageEntry]>, pixels: Uint8Array) =>
        Effect.tryPromise({
          try: () =>
            Promise.all(
              part.map(([row, { image }]) =>
                readImage(join(root, image), pixels.subarray(row * bytes, (row + 1) * bytes))
              )
            ),
          catch: (error) => error as ImageUndecodable
        })
      const decode = (entries: ReadonlyArray<ImageEntry>) =>
        Effect.gen(function* () {
          const memory = memories.take(entries.length * bytes)
          const pixels = memory ? new Uint8Array(structuredClone(memory)) : new Uint8Array(entries.length * bytes)
          if (memory) memories.returnAfter(pixels.buffer, memory)
          yield* Stream.fromIterable(entries.entries()).pipe(
            Stream.grouped(filesAtOnce),
            Stream.rechunk(1),
            // The next files are read while these are decoded.
            Stream.mapEffect((part) => readFiles(part, pixels), { concurrency: 2 }),
            Stream.mapEffect((files) => Effect.as(decodeFiles(decoder, files), files.length)),
            Stream.runForEach((count) =>
              Effect.sync(() => {
                done += count
                progress({ done, total: all.length })
              })
            )
          )
          return batchOf(
            images,
            {
              image: entries.map(({ image }) => image),
              person: Int32Array.from(entries, ({ person }) => person),
              camera: Int32Array.from(entries, ({ camera }) => camera),
              pixels
            },
            { height, width, dataset: format, split }
          )
        })
      return {
        images: Stream.fromIterable(all).pipe(
          Stream.grouped(rowsPerBatch),
          Stream.rechunk(1),
          Stream.mapEffect(decode),
          // A batch is decoded while the one before it is written.
          Stream.bufferArray({ capacity: 1 })
        )
      }
    })
})
