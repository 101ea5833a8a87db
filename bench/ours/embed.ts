/** Embeddings of decoded images as the embed stage computes them: node embed.ts FOLDER. The unit of work is the batch. */
import { join } from "node:path"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Layer, Stream } from "effect"
import { imagenetNormalisation, normalisationTable, normalise } from "#data/augmentation.ts"
import { Programs } from "#engine/programs.ts"
import { Session } from "#engine/session.ts"
import { compiledEmbedder } from "#model/embedder.ts"
import { Networks } from "#model/networks.ts"
import { inletOf } from "#pipeline/arrow-file.ts"
import { viewOf } from "#schemas/artifact.ts"
import { checkpoint } from "#schemas/checkpoint.ts"
import { images } from "#schemas/images.ts"
import { serve } from "../side.ts"
import { batchSize, network, size } from "./embed-case.ts"
import { settingsOf } from "./settings.ts"

const [folder] = process.argv.slice(2) as [string]

/** Images whose embeddings are compared. */
const compared = 8

const program = Effect.gen(function* () {
  const networks = yield* Networks
  const file = join(folder, "checkpoint.arrow")
  yield* networks.load(yield* Stream.runCollect(inletOf(checkpoint, [file]).batches), file)
  const [batch] = yield* Stream.runCollect(inletOf(images, [join(folder, "images.arrow")]).batches)
  const { pixels } = viewOf(images, batch!)
  const { tf } = networks.session
  const used = yield* networks.get(network)
  const embedNormalised = yield* compiledEmbedder(yield* Programs, tf, [used], [batchSize, size.height, size.width])
  const table = normalisationTable(imagenetNormalisation)
  const embed = () => {
    const normalised = new Float32Array(pixels.length)
    normalise(pixels, table, normalised)
    return embedNormalised(normalised)
  }
  const found = embed()
  const values = Object.fromEntries(
    Array.from({ length: compared }, (_, i) => [
      `embedding of image ${i}`,
      [...found.subarray(i * used.dimension, (i + 1) * used.dimension)]
    ])
  )
  const work = (count: number) =>
    Effect.sync(() => {
      for (let i = 0; i < count; i++) embed()
    })
  yield* serve(values, `${settingsOf(tf)}, batches of ${batchSize}`, work)
})

const services = Layer.merge(Networks.layer.pipe(Layer.provideMerge(Session.layer)), Programs.layer)
NodeRuntime.runMain(program.pipe(Effect.scoped, Effect.provide(services)))
