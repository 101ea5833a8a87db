/** Writes embeddings.arrow and centroids.arrow (where Lloyd's iterations start), for both sides: node kmeans-inputs.ts FOLDER */
import { join } from "node:path"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Stream } from "effect"
import { Session } from "#engine/session.ts"
import { kmeansPlusPlus } from "#model/kmeans.ts"
import { writeBatches } from "#pipeline/arrow-file.ts"
import { batchOf } from "#schemas/artifact.ts"
import { embeddings } from "#schemas/embeddings.ts"
import { centroids } from "#schemas/pseudo-labels.ts"
import { clusteredFeatures } from "./clustered-features.ts"

/** As many images and identities as Market-1501's training images have, and the paper's classes. */
const rows = 12_936
const identities = 751
const dimension = 2_048
const classes = 500

const [folder] = process.argv.slice(2) as [string]
const zeros = (length: number) => new Int32Array(length)

const program = Effect.gen(function* () {
  const { tf } = yield* Session
  const values = clusteredFeatures(rows, dimension, identities, 2)
  // Of seeds 1 to 9 the one in whose iterations no image is as near to two centroids as rounding: by 1.5e-6 of the distance at
  // least, so that every machine comes to the same labels.
  const start = yield* kmeansPlusPlus(tf, { values, rows, dimension }, classes, 4)
  const image = Array.from({ length: rows }, (_, row) => `${row}.jpg`)
  const features = batchOf(embeddings, { image, person: zeros(rows), camera: zeros(rows), embedding: values }, {})
  const label = Int32Array.from({ length: classes }, (_, i) => i)
  const seeds = batchOf(centroids, { label, size: zeros(classes), centroid: start }, {})
  yield* writeBatches(() => join(folder, "embeddings.arrow"), Infinity, Stream.make(features))
  yield* writeBatches(() => join(folder, "centroids.arrow"), Infinity, Stream.make(seeds))
})

NodeRuntime.runMain(program.pipe(Effect.provide(Session.layer)))
