/** embed: images → one L2-normalised vector an image, by one network or the average of several. */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import type { RecordBatch } from "apache-arrow"
import { Effect, Result, Schema, Stream } from "effect"
import { imagenetNormalisation, Normalisation, normalisationTable, normalise } from "#data/augmentation.ts"
import { valuesOf } from "#engine/session.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"
import type { Network } from "#model/network.ts"
import { Networks } from "#model/networks.ts"
import { optionalPort, ProgressListener, port, stage } from "#pipeline/stage.ts"
import { batchOf, metadataOf, viewOf, withExtraColumns } from "#schemas/artifact.ts"
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

const l2Normalised = (tf: TensorFlow, x: tfjs.Tensor2D): tfjs.Tensor2D =>
  tf.div(x, tf.maximum(tf.norm(x, 2, 1, true), 1e-12))

/**
 * Embeddings [N, D] of images [N, H, W, 3]: each network's BNNeck output L2-normalised; of several networks the average,
 * normalised again (ALGORITHM: section "Stage 2", step 1).
 */
export const embedImages = (tf: TensorFlow, networks: ReadonlyArray<Network>, pixels: tfjs.Tensor4D): tfjs.Tensor2D =>
  tf.tidy(() => {
    const each = networks.map((network) => l2Normalised(tf, network.embed(pixels)))
    return each.length === 1 ? each[0]! : l2Normalised(tf, tf.div(tf.addN(each), each.length))
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
        yield* networks.load(yield* Stream.runCollect(inputs.checkpoint.batches), inputs.checkpoint.source)
      }
      const used = yield* Effect.forEach(names, networks.get)
      const { tf } = networks.session
      const table = normalisationTable(normalisation)
      let done = 0
      const embedBatch = (batch: RecordBatch) =>
        Effect.gen(function* () {
          const view = viewOf(images, batch)
          const { height, width } = Result.getOrThrow(metadataOf(images, batch, inputs.images.source))
          const unfit = pixelsError(batch, { height, width }, inputs.images.source)
          if (unfit !== undefined) return yield* unfit
          const bytes = height * width * 3
          const dimension = used[0]!.dimension
          const embedding = new Float32Array(batch.numRows * dimension)
          for (let row = 0; row < batch.numRows; row += batchSize) {
            const part = view.pixels.subarray(row * bytes, (row + batchSize) * bytes)
            const normalised = new Float32Array(part.length)
            normalise(part, table, normalised)
            const values = valuesOf(tf, () =>
              embedImages(tf, used, tf.tensor4d(normalised, [part.length / bytes, height, width, 3]))
            )
            embedding.set(values, row * dimension)
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
