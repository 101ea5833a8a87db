/** cluster: embeddings → a hard pseudo label for each image, and the clusters' centroids. */
import type { RecordBatch } from "apache-arrow"
import { Effect, Schema, Stream } from "effect"
import { Session } from "#engine/session.ts"
import type { Points } from "#model/distance-blocks.ts"
import { kmeans, kmeansPlusPlus } from "#model/kmeans.ts"
import { type Inlet, optionalPort, port, stage } from "#pipeline/stage.ts"
import { batchOf, viewOf, withExtraColumns } from "#schemas/artifact.ts"
import { embeddings } from "#schemas/embeddings.ts"
import { centroids, pseudoLabels } from "#schemas/pseudo-labels.ts"

const PositiveInt = Schema.Int.check(Schema.isGreaterThan(0))

export const ClusterParams = Schema.Struct({
  algorithm: Schema.Literals(["kmeans"]).pipe(Schema.withDecodingDefaultKey(Effect.succeed("kmeans" as const))),
  /** M_t, the number of clusters: 500, 700 or 900 in the paper. */
  classes: PositiveInt.pipe(Schema.withDecodingDefaultKey(Effect.succeed(500))),
  /** Relative to the mean variance of the embedding's dimensions, as scikit-learn's `tol`. */
  tolerance: Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0)).pipe(
    Schema.withDecodingDefaultKey(Effect.succeed(1e-4))
  ),
  maxIterations: PositiveInt.pipe(Schema.withDecodingDefaultKey(Effect.succeed(300))),
  /** Of k-means++; without meaning where initial centroids are given. */
  seed: Schema.Int.pipe(Schema.withDecodingDefaultKey(Effect.succeed(1)))
})

/** The embeddings cannot be clustered as asked. */
export class EmbeddingsUnusable extends Schema.TaggedError<EmbeddingsUnusable>()("EmbeddingsUnusable", {
  source: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `${this.source}: ${this.problem}`
  }
}

const ownWidth = (values: Float32Array, rows: number) => (rows === 0 ? 0 : values.length / rows)

// A loop: calling a function for each of a data set's millions of values takes as long as an iteration of k-means.
const firstNotFinite = (values: Float32Array): number => {
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i])) return i
  return -1
}

/** All embeddings in one array; fails on one of another length and on a value that is no finite number. */
const collectPoints = (inlet: Inlet<typeof embeddings>, batches: ReadonlyArray<RecordBatch>) =>
  Effect.gen(function* () {
    const unusable = (problem: string) => new EmbeddingsUnusable({ source: inlet.source, problem })
    const views = batches.filter(({ numRows }) => numRows > 0).map((batch) => viewOf(embeddings, batch))
    const rows = views.reduce((sum, { image }) => sum + image.length, 0)
    const dimension = views[0] ? ownWidth(views[0].embedding, views[0].image.length) : 0
    const values = new Float32Array(rows * dimension)
    let at = 0
    for (const { embedding, image } of views) {
      const width = ownWidth(embedding, image.length)
      if (width !== dimension)
        return yield* unusable(`image "${image[0]}" has ${width} values, those before it ${dimension}`)
      const wrong = firstNotFinite(embedding)
      if (wrong >= 0) {
        const found = `column "embedding" of image "${image[Math.floor(wrong / width)]}" holds ${embedding[wrong]}`
        return yield* unusable(`${found}, expected finite numbers`)
      }
      values.set(embedding, at)
      at += embedding.length
    }
    return { values, rows, dimension } satisfies Points
  })

/** Given centroids in the order of their labels. */
const initialCentroids = (inlet: Inlet<typeof centroids>, classes: number, dimension: number) =>
  Effect.gen(function* () {
    const views = (yield* Stream.runCollect(inlet.batches)).map((batch) => viewOf(centroids, batch))
    const flat = new Float32Array(classes * dimension)
    const seen = new Set<number>()
    for (const { label, centroid } of views) {
      const width = ownWidth(centroid, label.length)
      for (const [row, at] of label.entries()) {
        if (at < 0 || at >= classes || seen.has(at) || width !== dimension) {
          const problem = `label ${at} with ${width} values, expected each of 0 … ${classes - 1} once with ${dimension} values`
          return yield* new EmbeddingsUnusable({ source: inlet.source, problem })
        }
        if (!centroid.subarray(row * width, (row + 1) * width).every(Number.isFinite)) {
          const problem = `centroid ${at} holds a value that is no finite number`
          return yield* new EmbeddingsUnusable({ source: inlet.source, problem })
        }
        seen.add(at)
        flat.set(centroid.subarray(row * width, (row + 1) * width), at * width)
      }
    }
    if (seen.size !== classes) {
      const problem = `${seen.size} initial centroids, expected as many as parameter "classes" says: ${classes}`
      return yield* new EmbeddingsUnusable({ source: inlet.source, problem })
    }
    return flat
  })

export const clusterStage = stage({
  name: "cluster",
  version: 1,
  summary: "clusters embeddings into hard pseudo labels",
  params: ClusterParams,
  inputs: {
    embeddings: port(embeddings, "of all training images"),
    "initial-centroids": optionalPort(centroids, "where k-means starts, in place of k-means++ seeds")
  },
  outputs: {
    "pseudo-labels": port(pseudoLabels, "a row an image, in the embeddings' order"),
    centroids: port(centroids, "mean embedding of each cluster, a row a label")
  },
  run: (inputs, { classes, tolerance, maxIterations, seed }) =>
    Effect.gen(function* () {
      const { tf } = yield* Session
      const batches = yield* Stream.runCollect(inputs.embeddings.batches)
      const points = yield* collectPoints(inputs.embeddings, batches)
      if (classes > points.rows) {
        const problem = `parameter "classes" is ${classes}, but there are only ${points.rows} images; choose at most as many`
        return yield* new EmbeddingsUnusable({ source: inputs.embeddings.source, problem })
      }
      const given = inputs["initial-centroids"]
      const start = given
        ? yield* initialCentroids(given, classes, points.dimension)
        : yield* kmeansPlusPlus(tf, points, classes, seed)
      const clusters = yield* kmeans(tf, points, start, { classes, maxIterations, tolerance })
      let at = 0
      const labelled = batches.map((batch) => {
        const { image } = viewOf(embeddings, batch)
        const label = clusters.labels.subarray(at, at + batch.numRows)
        at += batch.numRows
        return withExtraColumns(batchOf(pseudoLabels, { image, label }, { classes }), batch, embeddings, pseudoLabels)
      })
      const { sizes, centroids: centroid } = clusters
      const summary = batchOf(centroids, { label: Int32Array.from(sizes.keys()), size: sizes, centroid }, {})
      return { "pseudo-labels": Stream.fromIterable(labelled), centroids: Stream.make(summary) }
    })
})
