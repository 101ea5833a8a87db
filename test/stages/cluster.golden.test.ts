import { Effect, Schema } from "effect"
import { describe, it } from "vitest"
import { Session } from "#engine/session.ts"
import { kmeans } from "#model/kmeans.ts"
import { batchOf, viewOf } from "#schemas/artifact.ts"
import { embeddings } from "#schemas/embeddings.ts"
import { centroids, pseudoLabels } from "#schemas/pseudo-labels.ts"
import { clusterStage } from "#stages/cluster.ts"
import { goldenCase } from "../golden-values.ts"
import { drain, inlet, run } from "./run-stage.ts"

const golden = goldenCase("kmeans", Schema.Struct({ K: Schema.Int, max_iter: Schema.Int }))
const { K: classes, max_iter: maxIterations } = golden.params
const feat = golden.input("feat", Float32Array)
const init = golden.input("init", Float32Array)
const [rows, dimension] = feat.shape as [number, number]

// Named after their tolerances: tol0, tol1, and tol1e4 for 1e-4.
const runs = golden.outputs.flatMap((name) => {
  const text = /^labels_tol(.*)$/.exec(name)?.[1]
  return text === undefined ? [] : [{ suffix: `tol${text}`, tolerance: Number(text.replace("e", "e-")) }]
})

/** Images in several record batches of unequal size, as shards come. */
const shards = [
  [0, Math.floor(rows / 3)],
  [Math.floor(rows / 3), rows]
].map(([from, to]) => {
  const image = Array.from({ length: to! - from! }, (_, row) => `${from! + row}.jpg`)
  const zeros = new Int32Array(image.length)
  const embedding = feat.values.subarray(from! * dimension, to! * dimension)
  return batchOf(embeddings, { image, person: zeros, camera: zeros, embedding }, {})
})

describe("golden: kmeans", () => {
  it.each(runs)("through the cluster stage with tolerance $tolerance", ({ suffix, tolerance }) =>
    run(
      Effect.gen(function* () {
        const label = Int32Array.from({ length: classes }, (_, i) => i)
        const start = batchOf(centroids, { label, size: new Int32Array(classes), centroid: init.values }, {})
        const outlets = yield* clusterStage.run(
          { embeddings: inlet(embeddings, shards), "initial-centroids": inlet(centroids, [start]) },
          { algorithm: "kmeans", classes, tolerance, maxIterations, seed: 1 }
        )
        const out = yield* drain(outlets)
        const labels = out["pseudo-labels"].flatMap((batch) => [...viewOf(pseudoLabels, batch).label])
        golden.check(`labels_${suffix}`, labels)
        golden.check(`centroids_${suffix}`, viewOf(centroids, out.centroids[0]!).centroid)
      })
    )
  )

  it.each(runs)("inertia and iterations with tolerance $tolerance", ({ suffix, tolerance }) =>
    run(
      Effect.gen(function* () {
        const { tf } = yield* Session
        const points = { values: feat.values, rows, dimension }
        const found = yield* kmeans(tf, points, init.values, { classes, maxIterations, tolerance })
        golden.check(`inertia_${suffix}`, found.inertia)
        golden.check(`n_iter_${suffix}`, found.iterations)
      })
    )
  )
})
