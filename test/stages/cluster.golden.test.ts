import type { RecordBatch } from "apache-arrow"
import { Effect, Result, Schema } from "effect"
import { describe, expect, it } from "vitest"
import { Session } from "#engine/session.ts"
import { kmeans } from "#model/kmeans.ts"
import { batchOf, metadataOf, viewOf } from "#schemas/artifact.ts"
import { embeddings } from "#schemas/embeddings.ts"
import { centroids, pseudoLabels } from "#schemas/pseudo-labels.ts"
import { ClusterParams, clusterStage } from "#stages/cluster.ts"
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

/** Through the stage; `first` is what it gave in the first epoch. */
const dbscan = (params: typeof ClusterParams.Encoded, first?: ReadonlyArray<RecordBatch>) =>
  Effect.gen(function* () {
    const inputs = {
      embeddings: inlet(embeddings, shards),
      "initial-centroids": undefined,
      "first-pseudo-labels": first && inlet(pseudoLabels, first)
    }
    const whole = yield* Schema.decodeUnknownEffect(ClusterParams)({ algorithm: "dbscan", ...params })
    const out = yield* drain(yield* clusterStage.run(inputs, whole))
    const labels = out["pseudo-labels"].flatMap((batch) => [...viewOf(pseudoLabels, batch).label])
    return { labels, pseudoLabels: out["pseudo-labels"], centroids: viewOf(centroids, out.centroids[0]!) }
  })

const DbscanParams = Schema.Struct({ k1: Schema.Int, k2: Schema.Int, min_samples: Schema.Int })
const settingsOf = ({ k1, k2, min_samples: minSamples }: typeof DbscanParams.Type) => ({ k1, k2, minSamples })

describe("golden: jaccard_dbscan", () => {
  const golden = goldenCase("jaccard_dbscan", DbscanParams)

  it("through the cluster stage", () =>
    run(
      Effect.gen(function* () {
        const { labels, centroids } = yield* dbscan({ ...settingsOf(golden.params), eps: 0.6 })
        golden.check("labels_eps06", labels)
        golden.check("outliers_eps06", labels.filter((label) => label === -1).length, "exact")
        golden.check("centroid_mean", centroids.centroid)
        expect([...centroids.size]).toEqual(
          Array.from(centroids.label, (cluster) => labels.filter((label) => label === cluster).length)
        )
        golden.check("labels_eps07", (yield* dbscan({ ...settingsOf(golden.params), eps: 0.7 })).labels)
      })
    ))
})

describe("golden: jaccard_dbscan_official", () => {
  const golden = goldenCase("jaccard_dbscan_official", DbscanParams)
  const settings = { ...settingsOf(golden.params), encoding: "official" } as const

  it("through the cluster stage", () =>
    run(
      Effect.gen(function* () {
        golden.check("labels_official_eps06", (yield* dbscan({ ...settings, eps: 0.6 })).labels)
        const found = yield* dbscan({ ...settings, eps: "auto" })
        golden.check("labels_official_auto", found.labels)
        const { eps } = Result.getOrThrow(metadataOf(pseudoLabels, found.pseudoLabels[0]!, ""))
        golden.check("eps_auto", eps!)
        // Later epochs keep the first one's radius, whatever their own distances would give.
        const other = yield* dbscan({ ...settings, eps: 0.6 })
        const later = yield* dbscan({ ...settings, eps: "auto" }, other.pseudoLabels)
        golden.check("labels_official_eps06", later.labels)
      })
    ))
})

describe("golden: kmeans", () => {
  it.each(runs)("through the cluster stage with tolerance $tolerance", ({ suffix, tolerance }) =>
    run(
      Effect.gen(function* () {
        const label = Int32Array.from({ length: classes }, (_, i) => i)
        const start = batchOf(centroids, { label, size: new Int32Array(classes), centroid: init.values }, {})
        const outlets = yield* clusterStage.run(
          {
            embeddings: inlet(embeddings, shards),
            "initial-centroids": inlet(centroids, [start]),
            "first-pseudo-labels": undefined
          },
          yield* Schema.decodeUnknownEffect(ClusterParams)({ classes, tolerance, maxIterations })
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
