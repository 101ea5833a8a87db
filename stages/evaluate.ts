/** evaluate: embeddings of queries and gallery → mAP, CMC and what each query found. Single query, Market-1501's protocol. */
import type { RecordBatch } from "apache-arrow"
import { Effect, Schema, Stream } from "effect"
import { Session, valuesOf } from "#engine/session.ts"
import { consistentDepths } from "#model/k-reciprocal.ts"
import { Reranking, reranking } from "#model/reranking.ts"
import { type Embedded, type QueryRanking, rankGallery, scores, squaredDistances } from "#model/retrieval.ts"
import { type Inlet, ProgressListener, port, stage } from "#pipeline/stage.ts"
import { viewOf } from "#schemas/artifact.ts"
import { embeddings } from "#schemas/embeddings.ts"
import { metrics, metricsBatch, ranking, rankingBatch } from "#schemas/metrics.ts"

const PositiveInt = Schema.Int.check(Schema.isGreaterThan(0))

export const EvaluateParams = Schema.Struct({
  /** The k of CMC top-k. */
  ranks: Schema.Array(PositiveInt).pipe(Schema.withDecodingDefaultKey(Effect.succeed([1, 5, 10]))),
  /** Ranks of each query that the ranking keeps, beside all its matches. */
  depth: PositiveInt.pipe(Schema.withDecodingDefaultKey(Effect.succeed(10))),
  /** Whether distances are mixed with the k-reciprocal Jaccard distance first; those below are of it alone. */
  rerank: Schema.Boolean.pipe(Schema.withDecodingDefaultKey(Effect.succeed(false))),
  encoding: Reranking.fields.encoding.pipe(Schema.withDecodingDefaultKey(Effect.succeed("openunreid" as const))),
  k1: Reranking.fields.k1.pipe(Schema.withDecodingDefaultKey(Effect.succeed(20))),
  k2: Reranking.fields.k2.pipe(Schema.withDecodingDefaultKey(Effect.succeed(6))),
  lambda: Reranking.fields.lambda.pipe(Schema.withDecodingDefaultKey(Effect.succeed(0.3)))
}).check(Schema.makeFilter(consistentDepths))

/** Queries and gallery cannot be compared: no rows, other dimensions, a value that is no number, no valid query. */
export class RetrievalImpossible extends Schema.TaggedError<RetrievalImpossible>()("RetrievalImpossible", {
  source: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `${this.source}: ${this.problem}`
  }
}

const collect = (inlet: Inlet<typeof embeddings>, keepJunk: boolean) =>
  Effect.gen(function* () {
    const impossible = (problem: string) => new RetrievalImpossible({ source: inlet.source, problem })
    const image: Array<string> = []
    const person: Array<number> = []
    const camera: Array<number> = []
    const vectors: Array<Float32Array> = []
    for (const batch of yield* Stream.runCollect(inlet.batches)) {
      const view = viewOf(embeddings, batch)
      const dimension = view.embedding.length / batch.numRows
      for (const [row, name] of view.image.entries()) {
        // Junk detections take no part at all: they are dropped before anything is ranked.
        if (view.person[row] === -1 && !keepJunk) continue
        const vector = view.embedding.subarray(row * dimension, (row + 1) * dimension)
        if (!vector.every(Number.isFinite)) {
          return yield* impossible(`column "embedding" of image "${name}" holds a value that is no finite number`)
        }
        if (vectors[0] && vectors[0].length !== dimension) {
          return yield* impossible(`image "${name}" has ${dimension} values, those before it ${vectors[0].length}`)
        }
        image.push(name)
        person.push(view.person[row]!)
        camera.push(view.camera[row]!)
        vectors.push(vector)
      }
    }
    if (vectors.length === 0) return yield* impossible("it holds no embeddings to rank")
    const dimension = vectors[0]!.length
    const embedding = new Float32Array(vectors.length * dimension)
    for (const [row, vector] of vectors.entries()) embedding.set(vector, row * dimension)
    return { image, person: Int32Array.from(person), camera: Int32Array.from(camera), embedding, dimension }
  })

/** Rows of the `ranking` artifact: the first ranks of a query and its matches at any rank. */
const rankingRows = (query: Embedded, row: number, gallery: Embedded, found: QueryRanking, depth: number) => {
  const ranks = new Set(found.matches)
  const first = Array.from({ length: Math.min(depth, found.order.length) }, (_, i) => i + 1)
  const kept = [...new Set([...first, ...found.matches])]
  return kept.map((rank) => ({
    query: query.image[row]!,
    rank,
    galleryRow: found.order[rank - 1]!,
    gallery: gallery.image[found.order[rank - 1]!]!,
    match: ranks.has(rank)
  }))
}

const pointsOf = ({ image, embedding, dimension }: Effect.Success<ReturnType<typeof collect>>) => ({
  values: embedding,
  rows: image.length,
  dimension
})

// Queries whose distances are held at once; bounds the memory to this many times the gallery.
const blockRows = 256

export const evaluateStage = stage({
  name: "evaluate",
  version: 1,
  summary: "ranks the gallery for each query, re-ranked where asked; mAP and CMC",
  params: EvaluateParams,
  inputs: {
    query: port(embeddings, "embeddings of the query images"),
    gallery: port(embeddings, "embeddings of the gallery images; those of person −1 are left out")
  },
  outputs: {
    metrics: port(metrics, "mAP, top-k, and the number of valid queries"),
    ranking: port(ranking, "the first ranks of each query and all its matches")
  },
  run: (inputs, { ranks, depth, rerank, ...settings }) =>
    Effect.gen(function* () {
      const { tf } = yield* Session
      const progress = yield* ProgressListener
      const query = yield* collect(inputs.query, true)
      const gallery = yield* collect(inputs.gallery, false)
      const { dimension } = gallery
      if (query.dimension !== dimension) {
        const problem = `the queries' embeddings have ${query.dimension} values, the gallery's ${dimension}`
        return yield* new RetrievalImpossible({ source: inputs.query.source, problem })
      }
      const galleryRows = gallery.image.length
      const total = query.image.length
      // The search for neighbours takes most of a re-ranking's time.
      const mix = rerank
        ? yield* reranking(tf, pointsOf(query), pointsOf(gallery), settings, (share) =>
            progress({ done: Math.floor(share * (total - 1)), total, note: "neighbours" })
          )
        : undefined
      const rankings: Array<Omit<QueryRanking, "order">> = []
      const kept: Array<RecordBatch> = []
      const onEngine = yield* Effect.acquireRelease(
        Effect.sync(() => tf.tensor2d(gallery.embedding, [galleryRows, dimension])),
        (tensor) => Effect.sync(() => tensor.dispose())
      )
      for (let start = 0; start < query.image.length; start += blockRows) {
        const end = Math.min(start + blockRows, query.image.length)
        const block = query.embedding.subarray(start * dimension, end * dimension)
        const distances = valuesOf(tf, () =>
          squaredDistances(tf, tf.tensor2d(block, [end - start, dimension]), onEngine)
        ) as Float32Array
        mix?.(distances, start, end)
        const rows = []
        for (let row = start; row < end; row++) {
          const own = distances.subarray((row - start) * galleryRows, (row - start + 1) * galleryRows)
          const found = rankGallery(query.person[row]!, query.camera[row]!, gallery, own)
          rankings.push({ matches: found.matches, averagePrecision: found.averagePrecision })
          for (const kept of rankingRows(query, row, gallery, found, depth))
            rows.push({ ...kept, distance: own[kept.galleryRow]! })
        }
        kept.push(rankingBatch(rows, depth))
        progress({ done: end, total: query.image.length })
        yield* Effect.yieldNow
      }
      const { queries, mAP, top } = scores(rankings, ranks)
      if (queries === 0) {
        const problem = "no query has a match on another camera in the gallery, so there is nothing to score"
        return yield* new RetrievalImpossible({ source: inputs.query.source, problem })
      }
      const shares = top.map((share, i) => [`top-${ranks[i]}`, share] as const)
      const summary = metricsBatch([["mAP", mAP], ...shares, ["queries", queries]])
      return { metrics: Stream.make(summary), ranking: Stream.fromIterable(kept) }
    })
})
