import type { RecordBatch } from "apache-arrow"
import { Effect, Schema } from "effect"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { batchOf, viewOf } from "#schemas/artifact.ts"
import { embeddings } from "#schemas/embeddings.ts"
import { metrics, ranking } from "#schemas/metrics.ts"
import { EvaluateParams, evaluateStage } from "#stages/evaluate.ts"
import { drain, inlet, run } from "./run-stage.ts"

interface Seen {
  readonly person: number
  readonly camera: number
  readonly at: ReadonlyArray<number>
}

const side = (name: string, seen: ReadonlyArray<Seen>) =>
  batchOf(
    embeddings,
    {
      image: seen.map((_, row) => `${name}-${row}`),
      person: Int32Array.from(seen, ({ person }) => person),
      camera: Int32Array.from(seen, ({ camera }) => camera),
      embedding: Float32Array.from(seen.flatMap(({ at }) => at))
    },
    {}
  )

const evaluate = (
  query: ReadonlyArray<RecordBatch>,
  gallery: ReadonlyArray<RecordBatch>,
  params: Partial<typeof EvaluateParams.Encoded> = {}
) =>
  Effect.gen(function* () {
    const inputs = {
      query: inlet(embeddings, query, "query.arrow"),
      gallery: inlet(embeddings, gallery, "gallery.arrow")
    }
    return yield* drain(yield* evaluateStage.run(inputs, yield* Schema.decodeUnknownEffect(EvaluateParams)(params)))
  })

const scoresOf = (batch: RecordBatch) => {
  const { name, value } = viewOf(metrics, batch)
  return Object.fromEntries(name.map((key, row) => [key, value[row]!]))
}

/** Rows of the ranking artifact. */
const rowsOf = (batches: ReadonlyArray<RecordBatch>) =>
  batches.flatMap((batch) => {
    const { query, rank, gallery, distance, match } = viewOf(ranking, batch)
    return query.map((name, row) => ({
      query: name,
      rank: rank[row]!,
      gallery: gallery[row]!,
      distance: distance[row]!,
      match: match[row]!
    }))
  })

const line = (person: number, camera: number, at: number): Seen => ({ person, camera, at: [at, 0] })

describe("evaluate", () => {
  it("ranks by distance, without junk and the query's own images of its camera", async () => {
    const query = [line(1, 1, 0), line(2, 1, 0)]
    const gallery = [line(1, 1, 0), line(-1, 2, 0), line(0, 2, 1), line(1, 2, 2), line(3, 3, 3), line(1, 3, 4)]
    const out = await run(evaluate([side("query", query)], [side("gallery", gallery)], { ranks: [1, 2, 3], depth: 1 }))
    // Person 2 is not in the gallery, so its query does not count.
    expect(scoresOf(out.metrics[0]!)).toEqual({ mAP: 0.5, "top-1": 0, "top-2": 1, "top-3": 1, queries: 1 })
    expect(rowsOf(out.ranking)).toEqual([
      { query: "query-0", rank: 1, gallery: "gallery-2", distance: 1, match: false },
      { query: "query-0", rank: 2, gallery: "gallery-3", distance: 4, match: true },
      { query: "query-0", rank: 4, gallery: "gallery-5", distance: 16, match: true },
      { query: "query-1", rank: 1, gallery: "gallery-0", distance: 0, match: false }
    ])
  })

  it("gives the same whatever the batches are, and for more queries than one block", async () => {
    const seen = fc.record({
      person: fc.integer({ min: -1, max: 4 }),
      camera: fc.integer({ min: 1, max: 3 }),
      at: fc.tuple(fc.integer({ min: -9, max: 9 }), fc.integer({ min: -9, max: 9 }))
    })
    const many = (min: number, max: number, seed: number) =>
      fc.sample(fc.array(seen, { minLength: min, maxLength: max }), { numRuns: 1, seed })[0]!
    const [query, gallery] = [many(300, 300, 1), many(60, 60, 2)]
    const whole = await run(evaluate([side("q", query)], [side("g", gallery)]))
    const cut = (name: string, list: ReadonlyArray<Seen>) => {
      const batch = side(name, list)
      return [batch.slice(0, 7), batch.slice(7, 7), batch.slice(7)]
    }
    const parts = await run(evaluate(cut("q", query), cut("g", gallery)))
    expect(scoresOf(parts.metrics[0]!)).toEqual(scoresOf(whole.metrics[0]!))
    expect(rowsOf(parts.ranking)).toEqual(rowsOf(whole.ranking))
    expect(new Set(rowsOf(whole.ranking).map((row) => row.query)).size).toBe(300)
  })

  it("keeps every match in the ranking, so that its scores can be computed again", async () => {
    const gallery = Array.from({ length: 40 }, (_, i) => line(i % 4, 1 + (i % 3), (i * 7) % 41))
    const query = Array.from({ length: 8 }, (_, i) => line(i % 4, 2, i * 5))
    const out = await run(evaluate([side("q", query)], [side("g", gallery)], { depth: 2 }))
    const byQuery = Map.groupBy(
      rowsOf(out.ranking).filter(({ match }) => match),
      (row) => row.query
    )
    const precisions = [...byQuery.values()].map((rows) => {
      const ranks = rows.map(({ rank }) => rank).sort((a, b) => a - b)
      return ranks.reduce((sum, rank, i) => sum + (i + 1) / rank, 0) / ranks.length
    })
    const mAP = precisions.reduce((a, b) => a + b, 0) / precisions.length
    expect(scoresOf(out.metrics[0]!).mAP).toBeCloseTo(mAP, 12)
  })

  const wide: Seen = { person: 1, camera: 1, at: [1, 2, 3] }
  const bad = (value: number): Seen => ({ person: 1, camera: 2, at: [0, value] })

  it.each([
    ["no queries", [], [line(1, 1, 0)], "query.arrow: it holds no embeddings to rank"],
    ["only junk in the gallery", [line(1, 1, 0)], [line(-1, 1, 0)], "gallery.arrow: it holds no embeddings to rank"],
    [
      "embeddings of different lengths",
      [wide],
      [line(1, 2, 0)],
      "query.arrow: the queries' embeddings have 3 values, the gallery's 2"
    ],
    [
      "an embedding that is no number",
      [line(1, 1, 0)],
      [line(2, 2, 0), bad(Number.NaN)],
      'gallery.arrow: column "embedding" of image "g-1" holds a value that is no finite number'
    ],
    [
      "an infinite embedding",
      [bad(Number.POSITIVE_INFINITY)],
      [line(2, 2, 0)],
      'query.arrow: column "embedding" of image "q-0" holds a value that is no finite number'
    ],
    [
      "no query with a match",
      [line(1, 1, 0)],
      [line(1, 1, 0), line(2, 2, 0)],
      "query.arrow: no query has a match on another camera in the gallery, so there is nothing to score"
    ]
  ])("refuses %s", async (_, query, gallery, message) => {
    const error = await run(Effect.flip(evaluate([side("q", query)], [side("g", gallery)])))
    expect(error.message).toBe(message)
  })

  it("names the image whose embedding is of another length than those before it", async () => {
    const error = await run(
      Effect.flip(evaluate([side("q", [line(1, 1, 0)])], [side("g", [line(1, 2, 0)]), side("h", [wide])]))
    )
    expect(error.message).toBe('gallery.arrow: image "h-0" has 3 values, those before it 2')
  })
})
