/** cluster: embeddings → a hard pseudo label for each image, and the clusters' centroids. */
import type { RecordBatch } from "apache-arrow"
import { Effect, Result, Schema, Stream } from "effect"
import { Session } from "#engine/session.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"
import { automaticEps, clusterMeans, consistent, DbscanSettings, dbscan, outlier } from "#model/dbscan.ts"
import type { Points } from "#model/distance-blocks.ts"
import { jaccardGraph } from "#model/jaccard.ts"
import { kmeans, kmeansPlusPlus } from "#model/kmeans.ts"
import { reliable } from "#model/reliability.ts"
import { type Inlet, optionalPort, ProgressListener, port, stage } from "#pipeline/stage.ts"
import { batchOf, metadataOf, viewOf, withExtraColumns } from "#schemas/artifact.ts"
import { embeddings } from "#schemas/embeddings.ts"
import { centroids, pseudoLabels } from "#schemas/pseudo-labels.ts"

const PositiveInt = Schema.Int.check(Schema.isGreaterThan(0))

const withDefault = <S extends Schema.Top>(schema: S, value: S["Encoded"]) =>
  schema.pipe(Schema.withDecodingDefaultKey(Effect.succeed(value)))

export const ClusterParams = Schema.Struct({
  algorithm: withDefault(Schema.Literals(["kmeans", "dbscan"]), "kmeans"),
  /** Of k-means: M_t, the number of clusters: 500, 700 or 900 in the paper. */
  classes: withDefault(PositiveInt, 500),
  /** Of k-means: relative to the mean variance of the embedding's dimensions, as scikit-learn's `tol`. */
  tolerance: withDefault(Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0)), 1e-4),
  /** Of k-means. */
  maxIterations: withDefault(PositiveInt, 300),
  /** Of k-means++; without meaning where initial centroids are given. */
  seed: withDefault(Schema.Int, 1),
  /** These and those below are of DBSCAN. */
  eps: withDefault(DbscanSettings.fields.eps, 0.6),
  minSamples: withDefault(DbscanSettings.fields.minSamples, 4),
  k1: withDefault(DbscanSettings.fields.k1, 30),
  k2: withDefault(DbscanSettings.fields.k2, 6),
  encoding: withDefault(DbscanSettings.fields.encoding, "openunreid"),
  epsGap: withDefault(DbscanSettings.fields.epsGap, 0)
}).check(Schema.makeFilter(consistent))
type ClusterParams = typeof ClusterParams.Type

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
    // One batch has them all as they are wanted; several are brought together.
    const values = views.length === 1 ? views[0]!.embedding : new Float32Array(rows * dimension)
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
      if (values !== embedding) values.set(embedding, at)
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

/** What an algorithm finds: −1 marks outliers, and `kept` is what later epochs take over. */
interface Clusters {
  readonly labels: Int32Array
  readonly sizes: Int32Array
  /** Row-major, a row a cluster. */
  readonly centroids: Float32Array
  readonly kept: { readonly eps?: number; readonly independence?: number }
}

type Given = Inlet<typeof embeddings>

const byKmeans = (
  tf: TensorFlow,
  points: Points,
  { classes, maxIterations, tolerance, seed }: ClusterParams,
  from: Given,
  given: Inlet<typeof centroids> | undefined
) =>
  Effect.gen(function* () {
    if (classes > points.rows) {
      const problem = `parameter "classes" is ${classes}, but there are only ${points.rows} images; choose at most as many`
      return yield* new EmbeddingsUnusable({ source: from.source, problem })
    }
    const start = given
      ? yield* initialCentroids(given, classes, points.dimension)
      : yield* kmeansPlusPlus(tf, points, classes, seed)
    const { labels, sizes, centroids } = yield* kmeans(tf, points, start, { classes, maxIterations, tolerance })
    return { labels, sizes, centroids, kept: {} } satisfies Clusters
  })

/** What the first epoch's clusters keep for the later ones. */
const keptBy = (first: Inlet<typeof pseudoLabels> | undefined) =>
  Effect.gen(function* () {
    if (first === undefined) return {} as Clusters["kept"]
    const [batch] = yield* Stream.runCollect(first.batches)
    const kept: Clusters["kept"] = batch ? Result.getOrThrow(metadataOf(pseudoLabels, batch, first.source)) : {}
    if (kept.eps === undefined) {
      const problem = "its metadata has no eps; expected the pseudo-labels that DBSCAN gave in the first epoch"
      return yield* new EmbeddingsUnusable({ source: first.source, problem })
    }
    return kept
  })

const byDbscan = (
  tf: TensorFlow,
  points: Points,
  params: ClusterParams,
  from: Given,
  first: Inlet<typeof pseudoLabels> | undefined
) =>
  Effect.gen(function* () {
    const unusable = (problem: string) => new EmbeddingsUnusable({ source: from.source, problem })
    const { minSamples, k1, k2, encoding, epsGap } = params
    if (points.rows < 2) return yield* unusable(`there are only ${points.rows} images, expected 2 at least`)
    const kept = yield* keptBy(first)
    const given = params.eps === "auto" ? kept.eps : params.eps
    const progress = yield* ProgressListener
    const graph = yield* jaccardGraph(
      tf,
      points,
      { k1, k2, encoding },
      given === undefined ? 1 : given + epsGap,
      (share) => progress({ done: Math.round(share * points.rows), total: points.rows })
    )
    const eps = given ?? automaticEps(graph)
    if (!(eps - epsGap > 0 && eps + epsGap < 1)) {
      const gap = epsGap > 0 ? ` ± ${epsGap} (epsGap)` : ""
      return yield* unusable(`the distances give an eps of ${eps}${gap}, which is no radius; give a number for eps`)
    }
    const labelsAt = (radius: number) => dbscan(graph, radius, minSamples)
    const found = labelsAt(eps)
    const judged =
      epsGap > 0 ? reliable(found, labelsAt(eps - epsGap), labelsAt(eps + epsGap), kept.independence) : undefined
    const labels = judged?.labels ?? found
    if (labels.every((label) => label === outlier)) {
      const reason =
        judged && found.some((label) => label !== outlier)
          ? `the clusters at eps ${eps} are not reliable at a gap of ${epsGap}; choose a smaller epsGap`
          : `at eps ${eps} and minSamples ${minSamples} all ${points.rows} images are outliers; choose a larger eps or k1, or a smaller minSamples`
      return yield* unusable(`DBSCAN found no cluster: ${reason}`)
    }
    const independence = judged ? { independence: judged.independence } : {}
    return { labels, ...clusterMeans(points, labels), kept: { eps, ...independence } } satisfies Clusters
  })

/** An input of the other algorithm is a mistake, not something to pass over. */
const noInputOf = (algorithm: string, inlet: Inlet | undefined) =>
  inlet === undefined
    ? Effect.void
    : Effect.fail(
        new EmbeddingsUnusable({ source: inlet.source, problem: `it is an input of ${algorithm} alone; leave it out` })
      )

export const clusterStage = stage({
  name: "cluster",
  version: 1,
  summary: "clusters embeddings into hard pseudo labels",
  params: ClusterParams,
  inputs: {
    embeddings: port(embeddings, "of all training images"),
    "initial-centroids": optionalPort(centroids, "where k-means starts, in place of k-means++ seeds"),
    "first-pseudo-labels": optionalPort(
      pseudoLabels,
      "DBSCAN's of the first epoch, whose automatic eps and threshold of independence are kept"
    )
  },
  outputs: {
    "pseudo-labels": port(pseudoLabels, "a row an image, in the embeddings' order; −1 marks an outlier"),
    centroids: port(centroids, "mean embedding of each cluster, a row a label")
  },
  run: (inputs, params) =>
    Effect.gen(function* () {
      const { tf } = yield* Session
      const { embeddings: from, "initial-centroids": start, "first-pseudo-labels": first } = inputs
      const batches = yield* Stream.runCollect(from.batches)
      const points = yield* collectPoints(from, batches)
      const isKmeans = params.algorithm === "kmeans"
      yield* isKmeans ? noInputOf("dbscan", first) : noInputOf("kmeans", start)
      const clusters: Clusters = yield* isKmeans
        ? byKmeans(tf, points, params, from, start)
        : byDbscan(tf, points, params, from, first)
      const { sizes, centroids: centroid, kept } = clusters
      let at = 0
      const labelled = batches.map((batch) => {
        const { image } = viewOf(embeddings, batch)
        const label = clusters.labels.subarray(at, at + batch.numRows)
        at += batch.numRows
        const own = batchOf(pseudoLabels, { image, label }, { classes: sizes.length, ...kept })
        return withExtraColumns(own, batch, embeddings, pseudoLabels)
      })
      const summary = batchOf(centroids, { label: Int32Array.from(sizes.keys()), size: sizes, centroid }, {})
      return { "pseudo-labels": Stream.fromIterable(labelled), centroids: Stream.make(summary) }
    })
})
