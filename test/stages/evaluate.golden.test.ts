import { Effect, Schema } from "effect"
import { describe, expect, it } from "vitest"
import { Session, valuesOf } from "#engine/session.ts"
import { rankGallery, scores, squaredDistances } from "#model/retrieval.ts"
import { batchOf, viewOf } from "#schemas/artifact.ts"
import { embeddings } from "#schemas/embeddings.ts"
import { metrics, ranking } from "#schemas/metrics.ts"
import { EvaluateParams, evaluateStage } from "#stages/evaluate.ts"
import { expectWithin, goldenCase } from "../golden-values.ts"
import { drain, inlet, run } from "./run-stage.ts"

const market = goldenCase("market_eval", Schema.Struct({}))

const side = (name: "query" | "gallery") => {
  const { values: embedding, shape } = market.input(`${name}_feat`, Float32Array)
  const [rows, dimension] = shape as [number, number]
  return {
    image: Array.from({ length: rows }, (_, row) => `${name}/${row}.jpg`),
    person: market.input(`${name}_pid`, Int32Array).values,
    camera: market.input(`${name}_camid`, Int32Array).values,
    embedding,
    dimension
  }
}
const query = side("query")
const gallery = side("gallery")
const ap = market.output("ap", Float64Array)
const firstMatch = market.output("first_match_rank", Int32Array).values

/** The k of the scores `cmcK`. */
const ks = Object.keys(market.scalars).flatMap((name) => (name.startsWith("cmc") ? [Number(name.slice(3))] : []))

/** Compares the AP of each query, undefined where it has no true match. */
const checkPrecisions = (found: ReadonlyArray<number | undefined>) => {
  const valid = [...found.keys()].filter((row) => !ap.nulls.has(row))
  for (const row of ap.nulls) expect(found[row]).toBeUndefined()
  const at = (values: ReadonlyArray<number | undefined> | Float64Array) => valid.map((row) => values[row] ?? Number.NaN)
  expectWithin("market_eval ap", at(found), at(ap.values), market.tolerance("ap"))
}

describe("golden: market_eval", () => {
  it("distances, rankings and scores of the retrieval module", () =>
    run(
      Effect.map(Session, ({ tf }) => {
        const kept = [...gallery.person.keys()].filter((row) => gallery.person[row] !== -1)
        const keptGallery = {
          person: Int32Array.from(kept, (row) => gallery.person[row]!),
          camera: Int32Array.from(kept, (row) => gallery.camera[row]!)
        }
        const { dimension } = gallery
        const distances = valuesOf(tf, () => {
          const all = tf.tensor2d(gallery.embedding, [gallery.person.length, dimension])
          const rows = tf.gather(all, tf.tensor1d(kept, "int32"))
          return squaredDistances(tf, tf.tensor2d(query.embedding, [query.person.length, dimension]), rows)
        }) as Float32Array
        market.check("sq_euclid", distances)
        const rankings = Array.from(query.person, (person, row) => {
          const own = distances.subarray(row * kept.length, (row + 1) * kept.length)
          return rankGallery(person, query.camera[row]!, keptGallery, own)
        })
        checkPrecisions(rankings.map(({ averagePrecision }) => averagePrecision))
        expect(rankings.map(({ matches }) => matches[0] ?? 0)).toEqual([...firstMatch])
        const { queries, mAP, top } = scores(rankings, ks)
        market.check("valid_queries", queries, "exact")
        market.check("mAP", mAP)
        for (const [i, k] of ks.entries()) market.check(`cmc${k}`, top[i]!)
      })
    ))

  it("scores and ranking of the evaluate stage", () =>
    run(
      Effect.gen(function* () {
        const outlets = yield* evaluateStage.run(
          {
            query: inlet(embeddings, [batchOf(embeddings, query, {})]),
            gallery: inlet(embeddings, [batchOf(embeddings, gallery, {})])
          },
          yield* Schema.decodeUnknownEffect(EvaluateParams)({ ranks: ks, depth: 1 })
        )
        const out = yield* drain(outlets)
        const { name, value } = viewOf(metrics, out.metrics[0]!)
        const score = (of: string) => value[name.indexOf(of)]!
        market.check("valid_queries", score("queries"), "exact")
        market.check("mAP", score("mAP"))
        for (const k of ks) market.check(`cmc${k}`, score(`top-${k}`))

        const matchRanks = new Map<string, Array<number>>()
        for (const batch of out.ranking) {
          const rows = viewOf(ranking, batch)
          for (const [row, image] of rows.query.entries())
            if (rows.match[row]) matchRanks.set(image, [...(matchRanks.get(image) ?? []), rows.rank[row]!])
        }
        const ranksOf = query.image.map((image) => (matchRanks.get(image) ?? []).sort((a, b) => a - b))
        checkPrecisions(
          ranksOf.map((ranks) =>
            ranks.length === 0 ? undefined : ranks.reduce((sum, rank, i) => sum + (i + 1) / rank, 0) / ranks.length
          )
        )
        expect(ranksOf.map((ranks) => ranks[0] ?? 0)).toEqual([...firstMatch])
      })
    ))
})

const RerankParams = Schema.Struct({ k1: Schema.Int, k2: Schema.Int, lambda: Schema.Finite })

describe.each([
  ["rerank_a", "openunreid"],
  ["rerank_b", "official"]
] as const)("golden: %s", (id, encoding) => {
  const golden = goldenCase(id, RerankParams)
  const place = new Map(gallery.image.filter((_, row) => gallery.person[row] !== -1).map((image, at) => [image, at]))

  it("distances and scores of the evaluate stage, and the AP of each query", () =>
    run(
      Effect.gen(function* () {
        const outlets = yield* evaluateStage.run(
          {
            query: inlet(embeddings, [batchOf(embeddings, query, {})]),
            gallery: inlet(embeddings, [batchOf(embeddings, gallery, {})])
          },
          yield* Schema.decodeUnknownEffect(EvaluateParams)({
            ...golden.params,
            ...{ ranks: ks, depth: place.size, rerank: true, encoding }
          })
        )
        const out = yield* drain(outlets)
        const { name, value } = viewOf(metrics, out.metrics[0]!)
        const score = (of: string) => value[name.indexOf(of)]!
        golden.check("valid_queries", score("queries"), "exact")
        golden.check("mAP", score("mAP"))
        for (const k of ks) golden.check(`cmc${k}`, score(`top-${k}`))
        // The ranking has every distance but those of the junk, which the reference's matrix has too.
        const expected = golden.output(id, Float32Array).values
        const found = expected.slice()
        const precisions = new Map<string, Array<number>>()
        let listed = 0
        for (const batch of out.ranking) {
          const rows = viewOf(ranking, batch)
          for (const [row, image] of rows.query.entries()) {
            found[query.image.indexOf(image) * place.size + place.get(rows.gallery[row]!)!] = rows.distance[row]!
            listed++
            const own = precisions.get(image) ?? []
            if (rows.match[row]) precisions.set(image, [...own, (own.length + 1) / rows.rank[row]!])
          }
        }
        expect(listed).toBeGreaterThan(0.9 * expected.length)
        golden.check(id, found)
        const nulls = golden.output("ap", Float64Array).nulls
        const valid = query.image.filter((_, row) => !nulls.has(row)).map((image) => precisions.get(image)!)
        const averages = valid.map((own) => own.reduce((a, b) => a + b, 0) / own.length)
        const values = golden.output("ap", Float64Array).values.filter((_, row) => !nulls.has(row))
        expectWithin(`${id} ap`, averages, values, golden.tolerance("ap"))
      })
    ))
})
