/** decode: the image files of one split of a data set → pixels of one size, in shards. */
import { readFile } from "node:fs/promises"
import { cpus } from "node:os"
import { join } from "node:path"
import { Effect, Schema, Stream } from "effect"
import sharp from "sharp"
import { type ImageEntry, openDataset } from "#data/dataset.ts"
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

/** RGB bytes of an image file, resized by bicubic interpolation as the reference's transform. */
const decodeImage = (file: string, height: number, width: number) =>
  Effect.tryPromise({
    try: async () => {
      const image = sharp(await readFile(file), { failOn: "truncated" })
        .removeAlpha()
        .toColourspace("srgb")
      const { data } = await image
        .resize(width, height, { fit: "fill", kernel: "cubic" })
        .raw()
        .toBuffer({ resolveWithObject: true })
      return data
    },
    catch: (cause) => new ImageUndecodable({ file, problem: (cause as Error).message })
  })

const rowsPerBatch = 256

export const decodeStage = stage({
  name: "decode",
  version: 1,
  summary: "reads a split of a data set, decodes and resizes its images",
  params: DecodeParams,
  inputs: {},
  outputs: { images: port(images, "a row an image, sorted by file name") },
  run: (_, { format, root, split, height, width }) =>
    Effect.gen(function* () {
      const dataset = yield* openDataset(format, root)
      const progress = yield* ProgressListener
      const entries = dataset.splits[split]
      const bytes = height * width * 3
      let done = 0
      const decode = (part: ReadonlyArray<ImageEntry>) =>
        Effect.gen(function* () {
          const pixels = new Uint8Array(part.length * bytes)
          yield* Effect.forEach(
            part.entries(),
            ([row, { image }]) =>
              Effect.map(decodeImage(join(root, image), height, width), (data) => {
                pixels.set(data, row * bytes)
                progress({ done: ++done, total: entries.length })
              }),
            { concurrency: cpus().length + 1, discard: true }
          )
          return batchOf(
            images,
            {
              image: part.map(({ image }) => image),
              person: Int32Array.from(part, ({ person }) => person),
              camera: Int32Array.from(part, ({ camera }) => camera),
              pixels
            },
            { height, width, dataset: format, split }
          )
        })
      return {
        images: Stream.fromIterable(entries).pipe(Stream.grouped(rowsPerBatch), Stream.mapEffect(decode))
      }
    })
})
