/** A map of the target's training images in two dimensions, by their embeddings: UMAP of exact nearest neighbours. */
import { Effect } from "effect"
import { UMAP } from "umap-js"
import { random } from "#data/random.ts"
import { labelsOf } from "#pipeline/clusterings.ts"
import { adaptations } from "#pipeline/plan.ts"
import { folderOf } from "#pipeline/task-plan.ts"
import { filesOf, type RunData, readViews } from "#report/run-data.ts"
import { embeddings } from "#schemas/embeddings.ts"

export interface MapPoint {
  readonly image: string
  readonly x: number
  readonly y: number
  /** −1 an outlier. */
  readonly cluster: number
  readonly camera: number
  /** −1 unknown. */
  readonly person: number
  /** Whether its identity is the most frequent of its cluster; undefined where that is not known. */
  readonly agrees: boolean | undefined
}

export interface EmbeddingMap {
  readonly adaptation: string
  readonly epoch: number
  readonly points: ReadonlyArray<MapPoint>
  /** Images of which the points are a sample. */
  readonly of: number
}

/** Points of a map; of more images a sample is drawn. */
const mostPoints = 2500
const neighbours = 15

interface Rows {
  readonly image: ReadonlyArray<string>
  readonly person: ReadonlyArray<number>
  readonly camera: ReadonlyArray<number>
  readonly vectors: ReadonlyArray<Float32Array>
}

const distance = (a: Float32Array, b: Float32Array) => {
  // Four sums side by side, as the processor adds.
  let [s0, s1, s2, s3] = [0, 0, 0, 0]
  const whole = a.length & ~3
  for (let i = 0; i < whole; i += 4) {
    const d0 = a[i]! - b[i]!
    const d1 = a[i + 1]! - b[i + 1]!
    const d2 = a[i + 2]! - b[i + 2]!
    const d3 = a[i + 3]! - b[i + 3]!
    s0 += d0 * d0
    s1 += d1 * d1
    s2 += d2 * d2
    s3 += d3 * d3
  }
  for (let i = whole; i < a.length; i++) s0 += (a[i]! - b[i]!) ** 2
  return Math.sqrt(s0 + s1 + s2 + s3)
}

/** The k nearest of each vector, itself among them, by Euclidean distance. */
export const nearest = (vectors: ReadonlyArray<Float32Array>, k: number) => {
  const rows = vectors.length
  const all = new Float64Array(rows * rows)
  for (let i = 0; i < rows; i++)
    for (let j = i + 1; j < rows; j++) {
      const d = distance(vectors[i]!, vectors[j]!)
      all[i * rows + j] = d
      all[j * rows + i] = d
    }
  const order = Array.from({ length: rows }, (_, i) => i)
  const indices = order.map((i) => {
    const own = all.subarray(i * rows, (i + 1) * rows)
    return order.toSorted((a, b) => own[a]! - own[b]! || Number(b === i) - Number(a === i) || a - b).slice(0, k)
  })
  return { indices, distances: indices.map((row, i) => row.map((j) => all[i * rows + j]!)) }
}

/** Two dimensions for each vector; the same for the same seed. At least 5 vectors. */
export const layout = (vectors: ReadonlyArray<Float32Array>, seed: number): ReadonlyArray<ReadonlyArray<number>> => {
  const k = Math.min(neighbours, vectors.length - 1)
  const generator = random(seed, "embedding map")
  const umap = new UMAP({ nNeighbors: k, minDist: 0.1, random: () => generator.uniform() })
  const { indices, distances } = nearest(vectors, k)
  umap.setPrecomputedKNN(indices, distances)
  return umap.fit(vectors.map((vector) => [...vector]))
}

const readEmbeddings = Effect.fnUntraced(function* (files: ReadonlyArray<string>) {
  const views = yield* readViews(embeddings, files)
  return {
    image: views.flatMap(({ image }) => image),
    person: views.flatMap(({ person }) => [...person]),
    camera: views.flatMap(({ camera }) => [...camera]),
    vectors: views.flatMap(({ image, embedding }) => {
      const dimension = embedding.length / image.length
      return image.map((_, row) => embedding.subarray(row * dimension, (row + 1) * dimension))
    })
  } satisfies Rows
})

/** The last epoch of the main adaptation, or of a variant where that has none, that has embedded and clustered. */
const lastClustered = ({ config, records }: RunData) => {
  for (const [adaptation, { epochs }] of adaptations(config).toReversed())
    for (let epoch = epochs; epoch > 0; epoch--)
      if (records.has(folderOf(adaptation, "cluster", epoch))) return { adaptation, epoch }
  return undefined
}

/** The most frequent known identity of each cluster, over all images. */
const majorities = (all: Rows, labels: ReadonlyMap<string, number>) => {
  const counts = new Map<number, Map<number, number>>()
  for (const [row, image] of all.image.entries()) {
    const [cluster, person] = [labels.get(image) ?? -1, all.person[row]!]
    if (cluster < 0 || person <= 0) continue
    const own = counts.get(cluster) ?? new Map<number, number>()
    counts.set(cluster, own.set(person, (own.get(person) ?? 0) + 1))
  }
  return new Map([...counts].map(([cluster, own]) => [cluster, [...own].reduce((a, b) => (b[1] > a[1] ? b : a))[0]]))
}

/** The map of a run's last clustering; undefined where there is none or too few images. */
export const embeddingMap = Effect.fn("embeddingMap")(function* (run: RunData) {
  const last = lastClustered(run)
  if (last === undefined) return undefined
  const { adaptation, epoch } = last
  const all = yield* readEmbeddings(filesOf(run, `${folderOf(adaptation, "embed", epoch)}/target-train`, "embeddings"))
  const labels = (yield* labelsOf(run.folder, run.records, adaptation, epoch)) ?? new Map<string, number>()
  const majority = majorities(all, labels)
  const rows = random(run.config.seed, "map sample")
    .shuffle([...all.image.keys()])
    .slice(0, mostPoints)
    .sort((a, b) => a - b)
  if (rows.length < 5) return undefined
  const places = layout(
    rows.map((row) => all.vectors[row]!),
    run.config.seed
  )
  const points = rows.map((row, i) => {
    const image = all.image[row]!
    const cluster = labels.get(image) ?? -1
    const person = all.person[row]! > 0 ? all.person[row]! : -1
    const [x, y] = [places[i]![0]!, places[i]![1]!]
    const agrees = cluster < 0 || person < 0 ? undefined : majority.get(cluster) === person
    return { image, x, y, cluster, camera: all.camera[row]!, person, agrees }
  })
  return { adaptation, epoch, points, of: all.image.length } satisfies EmbeddingMap
})
