import { Effect, Schema } from "effect"
import { describe, it } from "vitest"
import { Session } from "#engine/session.ts"
import { automaticEps, clusterMeans, dbscan } from "#model/dbscan.ts"
import { jaccardGraph } from "#model/jaccard.ts"
import type { SparseRows } from "#model/sparse-rows.ts"
import { goldenCase } from "../golden-values.ts"
import { run } from "../stages/run-stage.ts"

const Params = Schema.Struct({
  k1: Schema.Int,
  k2: Schema.Int,
  min_samples: Schema.Int
})

/** All pairs: 1 where the graph has none, 0 of a point to itself. */
const dense = ({ starts, columns, values }: SparseRows): Float32Array => {
  const rows = starts.length - 1
  const matrix = new Float32Array(rows * rows).fill(1)
  for (let row = 0; row < rows; row++) {
    matrix[row * rows + row] = 0
    for (let at = starts[row]!; at < starts[row + 1]!; at++) matrix[row * rows + columns[at]!] = values[at]!
  }
  return matrix
}

const pointsOf = (golden: ReturnType<typeof goldenCase<typeof Params.Type>>) => {
  const { values, shape } = golden.input("feat", Float32Array)
  return { values, rows: shape[0]!, dimension: shape[1]! }
}

const graphOf = (golden: ReturnType<typeof goldenCase<typeof Params.Type>>, encoding: "openunreid" | "official") =>
  Effect.gen(function* () {
    const { tf } = yield* Session
    const { k1, k2 } = golden.params
    return yield* jaccardGraph(tf, pointsOf(golden), { k1, k2, encoding }, 1, () => {})
  })

describe("golden: jaccard_dbscan", () => {
  const golden = goldenCase("jaccard_dbscan", Params)

  it("distances, labels and centroids", () =>
    run(
      Effect.gen(function* () {
        const graph = yield* graphOf(golden, "openunreid")
        golden.check("jaccard", dense(graph))
        golden.check("labels_eps07", dbscan(graph, 0.7, golden.params.min_samples))
        const labels = dbscan(graph, 0.6, golden.params.min_samples)
        golden.check("labels_eps06", labels)
        const { centroids, sizes } = clusterMeans(pointsOf(golden), labels)
        golden.check("num_clusters_eps06", sizes.length, "exact")
        golden.check("centroid_mean", centroids)
      })
    ))
})

describe("golden: jaccard_dbscan_official", () => {
  const golden = goldenCase("jaccard_dbscan_official", Params)

  it("distances, labels and the radius from the data", () =>
    run(
      Effect.gen(function* () {
        const graph = yield* graphOf(golden, "official")
        golden.check("jaccard_official", dense(graph))
        golden.check("labels_official_eps06", dbscan(graph, 0.6, golden.params.min_samples))
        const eps = automaticEps(graph)
        golden.check("eps_auto", eps)
        golden.check("labels_official_auto", dbscan(graph, eps, golden.params.min_samples))
      })
    ))
})
