/** decode: the image files of one split of a data set → pixels of one size, in shards. */
import { join } from "node:path"
import { Effect, Schema, Stream } from "effect"
import { BatchMemory } from "#data/batch-memory.ts"
import { cameraPatternFits, type ImageEntry, openDataset, readFields } from "#data/dataset.ts"
import { decodeFiles, type ImageFile, type ImageUndecodable, readImageFile } from "#data/image-files.ts"
import { filesAtOnce, type ImageDecoder, imageDecoder } from "#engine/decode-images.ts"
import { Session } from "#engine/session.ts"
import { ProgressListener, port, stage } from "#pipeline/stage.ts"
import { batchOf } from "#schemas/artifact.ts"
import { images } from "#schemas/images.ts"

const PositiveInt = Schema.Int.check(Schema.isGreaterThan(0))

export const DecodeParams = Schema.Struct({
  /** Layout of the data set's folder. */
  format: readFields.format.pipe(Schema.withDecodingDefaultKey(Effect.succeed("market1501" as const))),
  /** Of format folder: a regular expression whose group `camera` finds the camera in an image's path below the root. */
  cameraPattern: Schema.optionalKey(readFields.cameraPattern),
  root: Schema.String,
  split: Schema.Literals(["train", "query", "gallery"]),
  height: PositiveInt.pipe(Schema.withDecodingDefaultKey(Effect.succeed(256))),
  width: PositiveInt.pipe(Schema.withDecodingDefaultKey(Effect.succeed(128)))
}).check(cameraPatternFits)

/** The data set has no such split: a folder's images are all for training. */
export class SplitMissing extends Schema.TaggedError<SplitMissing>()("SplitMissing", {
  root: Schema.String,
  format: Schema.String,
  split: Schema.String
}) {
  override get message() {
    return `${this.root}: a data set of format ${this.format} has no split ${this.split}; its images are all in train`
  }
}

/** Decodes files to their places and gives their number; fails by the first that does not decode. */
const decodeAll = (decoder: ImageDecoder, files: ReadonlyArray<ImageFile>) =>
  Effect.flatMap(decodeFiles(decoder, files), ([first]) => (first ? Effect.fail(first) : Effect.succeed(files.length)))

const rowsPerBatch = 256

/** Of all splits: memory that another split was decoded to costs less than what the system has to give. */
const memories = new BatchMemory()

export const decodeStage = stage({
  name: "decode",
  version: 2,
  summary: "reads a split of a data set, decodes and resizes its images",
  params: DecodeParams,
  inputs: {},
  outputs: { images: port(images, "a row an image, sorted by file name") },
  run: (_, { format, root, split, height, width, ...options }) =>
    Effect.gen(function* () {
      const dataset = yield* openDataset(format, root, options)
      const progress = yield* ProgressListener
      const all = dataset.splits[split]
      if (all.length === 0) return yield* new SplitMissing({ root, format, split })
      const { tf } = yield* Session
      const decoder = yield* imageDecoder(tf, height, width)
      const bytes = height * width * 3
      let done = 0
      const readFiles = (part: ReadonlyArray<readonly [row: number, entry: ImageEntry]>, pixels: Uint8Array) =>
        Effect.tryPromise({
          try: () =>
            Promise.all(
              part.map(([row, { image }]) =>
                readImageFile(join(root, image), pixels.subarray(row * bytes, (row + 1) * bytes))
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
            Stream.mapEffect((files) => decodeAll(decoder, files)),
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
