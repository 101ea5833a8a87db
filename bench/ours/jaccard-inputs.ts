/** Writes embeddings.arrow, features of people seen 17 times each: node jaccard-inputs.ts FOLDER ROWS DIMENSION NOISE */
import { join } from "node:path"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Stream } from "effect"
import { writeBatches } from "#pipeline/arrow-file.ts"
import { batchOf } from "#schemas/artifact.ts"
import { embeddings } from "#schemas/embeddings.ts"
import { clusteredFeatures } from "./clustered-features.ts"

/** As in Market-1501's training images. */
const imagesPerIdentity = 17

const [folder, ...sizes] = process.argv.slice(2) as [string, string, string, string]
const [rows, dimension, noise] = sizes.map(Number) as [number, number, number]
const embedding = clusteredFeatures(rows, dimension, Math.round(rows / imagesPerIdentity), noise)
const image = Array.from({ length: rows }, (_, row) => `${row}.jpg`)
const zeros = new Int32Array(rows)
const features = batchOf(embeddings, { image, person: zeros, camera: zeros, embedding }, {})

NodeRuntime.runMain(
  writeBatches(() => join(folder, "embeddings.arrow"), Number.POSITIVE_INFINITY, Stream.make(features))
)
