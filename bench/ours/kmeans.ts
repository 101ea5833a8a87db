/** One clustering after the other: k-means++ seeds, then Lloyd's iterations from given centroids: node kmeans.ts FOLDER */
import { join } from "node:path"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Stream } from "effect"
import { Session } from "#engine/session.ts"
import { kmeans, kmeansPlusPlus } from "#model/kmeans.ts"
import { inletOf } from "#pipeline/arrow-file.ts"
import { viewOf } from "#schemas/artifact.ts"
import { embeddings } from "#schemas/embeddings.ts"
import { centroids } from "#schemas/pseudo-labels.ts"
import { serve } from "../side.ts"
import { settingsOf } from "./settings.ts"

const [folder] = process.argv.slice(2) as [string]

const program = Effect.gen(function* () {
  const { tf } = yield* Session
  const [features] = yield* Stream.runCollect(inletOf(embeddings, [join(folder, "embeddings.arrow")]).batches)
  const [seeds] = yield* Stream.runCollect(inletOf(centroids, [join(folder, "centroids.arrow")]).batches)
  const { embedding: values, image } = viewOf(embeddings, features!)
  const { centroid: start, label } = viewOf(centroids, seeds!)
  const points = { values, rows: image.length, dimension: values.length / image.length }
  const classes = label.length
  const options = { classes, maxIterations: 300, tolerance: 1e-4 }
  const { labels, inertia, iterations } = yield* kmeans(tf, points, start, options)
  let seed = 0
  const clustering = Effect.gen(function* () {
    yield* kmeansPlusPlus(tf, points, classes, ++seed)
    yield* kmeans(tf, points, start, options)
  })
  const found = { labels: [...labels], inertia: [inertia], iterations: [iterations] }
  yield* serve(found, settingsOf(tf), (count) => Effect.repeat(clustering, { times: count - 1 }))
})

NodeRuntime.runMain(program.pipe(Effect.scoped, Effect.provide(Session.layer)))
