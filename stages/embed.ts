/** embed: images → one L2-normalised vector an image, by one network or the average of several. */
import type { RecordBatch } from "apache-arrow"
import { Effect, Result, Schema, Stream } from "effect"
import { imagenetNormalisation, normalisationTable, normalise } from "#data/augmentation.ts"
import { Normalisation } from "#data/augmentation-settings.ts"
import { Programs } from "#engine/programs.ts"
import { compiledEmbedder, type Embedder } from "#model/embedder.ts"
import { Networks } from "#model/networks.ts"
import { optionalPort, ProgressListener, port, stage } from "#pipeline/stage.ts"
import { ArtifactUnreadable, batchOf, metadataOf, viewOf, withExtraColumns } from "#schemas/artifact.ts"
import { checkpoint } from "#schemas/checkpoint.ts"
import { embeddings } from "#schemas/embeddings.ts"
import { images, pixelsError } from "#schemas/images.ts"

const PositiveInt = Schema.Int.check(Schema.isGreaterThan(0))

export const EmbedParams = Schema.Struct({
  /** Networks whose embeddings are averaged. */
  networks: Schema.Array(Schema.String).pipe(Schema.withDecodingDefaultKey(Effect.succeed(["teacher-1", "teacher-2"]))),
  /** Images that go through the networks at once; it changes no value beyond rounding. */
  batchSize: PositiveInt.pipe(Schema.withDecodingDefaultKey(Effect.succeed(64))),
  normalisation: Normalisation.pipe(Schema.withDecodingDefaultKey(Effect.succeed(imagenetNormalisation)))
})

export const embedStage = stage({
  name: "embed",
  version: 1,
  summary: "embeds images by networks in evaluation mode",
  params: EmbedParams,
  inputs: {
    images: port(images, "decoded images"),
    checkpoint: optionalPort(checkpoint, "the networks; without it, those of the session")
  },
  outputs: { embeddings: port(embeddings, "a row an image, in the images' order") },
  run: (inputs, { networks: names, batchSize, normalisation }) =>
    Effect.gen(function* () {
      const networks = yield* Networks
      const progress = yield* ProgressListener
      if (inputs.checkpoint) {
        yield* networks.load(yield* Stream.runCollect(inputs.checkpoint.batches), inputs.checkpoint.source, names)
      }
      const used = yield* Effect.forEach(names, networks.get)
      const programs = yield* Programs
      const { tf } = networks.session
      const table = normalisationTable(normalisation)
      let done = 0
      let embed: Embedder | undefined
      let first: { readonly height: number; readonly width: number } | undefined
      // The same memory for each batch: new memory for each would call the collector for every few hundred images.
      let memory: Float32Array | undefined
      const embedBatch = (batch: RecordBatch) =>
        Effect.gen(function* () {
          const view = viewOf(images, batch)
          const { height, width } = Result.getOrThrow(metadataOf(images, batch, inputs.images.source))
          const unfit = pixelsError(batch, { height, width }, inputs.images.source)
          if (unfit !== undefined) return yield* unfit
          first ??= { height, width }
          if (height !== first.height || width !== first.width) {
            const problem = `images of ${height}×${width} after those of ${first.height}×${first.width}, expected the same size`
            return yield* new ArtifactUnreadable({ artifact: images.name, source: inputs.images.source, problem })
          }
          const bytes = height * width * 3
          const dimension = used[0]!.dimension
          const embedding = new Float32Array(batch.numRows * dimension)
          embed ??= yield* compiledEmbedder(programs, tf, used, [batchSize, height, width])
          memory ??= new Float32Array(batchSize * bytes)
          for (let row = 0; row < batch.numRows; row += batchSize) {
            const part = view.pixels.subarray(row * bytes, (row + batchSize) * bytes)
            const normalised = memory.subarray(0, part.length)
            normalise(part, table, normalised)
            embedding.set(embed(normalised), row * dimension)
            done += part.length / bytes
            progress({ done, total: 0 })
            yield* Effect.yieldNow
          }
          const { image, person, camera } = view
          const output = batchOf(embeddings, { image, person, camera, embedding }, { networks: names.join(",") })
          return withExtraColumns(output, batch, images, embeddings)
        })
      return { embeddings: inputs.images.batches.pipe(Stream.mapEffect(embedBatch)) }
    })
})
