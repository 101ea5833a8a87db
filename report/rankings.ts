/** What chosen queries found in the gallery, by each method of the score table; the queries found worst come first. */
import { Effect } from "effect"
import type { ImageRow, ImageRows } from "#data/image-rows.ts"
import { planTasks } from "#pipeline/plan.ts"
import { lastRows } from "#pipeline/score.ts"
import type { Task } from "#pipeline/task-plan.ts"
import { decodedImages, filesOf, type RunData, readViews } from "#report/run-data.ts"
import { embeddings } from "#schemas/embeddings.ts"
import { ranking } from "#schemas/metrics.ts"

export interface Found {
  readonly image: string
  /** From 1; junk has none, since it does not count. */
  readonly rank: number | undefined
  /** By which the evaluation ranked: squared Euclidean, and with re-ranking its mix with the Jaccard distance. */
  readonly distance: number
  readonly verdict: "right" | "wrong" | "junk"
}

/** The first ranks of a query by one method, with the junk among them unless they are re-ranked. */
export interface Strip {
  readonly method: string
  /** 0 to 1. */
  readonly averagePrecision: number
  /** Rank of the first right image. */
  readonly firstMatch: number
  readonly found: ReadonlyArray<Found>
}

export interface QueryStrips {
  readonly query: string
  readonly person: number
  readonly camera: number
  /** Where the query stands among all, by the average precision of the last method. */
  readonly standing: "worst" | "middle" | "best"
  readonly strips: ReadonlyArray<Strip>
}

export interface Rankings {
  /** `mmt, epoch 10, teacher-1`; in the order of the score table. */
  readonly methods: ReadonlyArray<string>
  readonly queries: ReadonlyArray<QueryStrips>
  /** Valid queries, of which these were chosen. */
  readonly of: number
  /** Whether the ranks are by mixed distances; junk has none, so no junk is shown then. */
  readonly reranked: boolean
  readonly images: { readonly query: ImageRows; readonly gallery: ImageRows }
}

const chosen = { worst: 12, middle: 6, best: 4 } as const

/** Junk that a strip shows at most, beside its ranks. */
const mostJunk = 5

const shownRanks = 10

interface QueryRanks {
  readonly ranked: Array<Found & { rank: number }>
  readonly matches: Array<number>
}

/** Mean of the precision at each match, whose ranks are all kept. */
const averagePrecision = (matches: ReadonlyArray<number>) =>
  matches.toSorted((a, b) => a - b).reduce((sum, rank, i) => sum + (i + 1) / rank, 0) / matches.length

/** The kept ranks of every query that has a match. */
const readRanking = Effect.fnUntraced(function* (run: RunData, task: string) {
  const queries = new Map<string, QueryRanks>()
  for (const view of yield* readViews(ranking, filesOf(run, task, "ranking"))) {
    for (const [row, query] of view.query.entries()) {
      const own = queries.get(query) ?? { ranked: [], matches: [] }
      queries.set(query, own)
      const [rank, match] = [view.rank[row]!, view.match[row]!]
      if (match) own.matches.push(rank)
      const found = { image: view.gallery[row]!, rank, distance: view.distance[row]! }
      if (rank <= shownRanks) own.ranked.push({ ...found, verdict: match ? "right" : "wrong" })
    }
  }
  return new Map([...queries].filter(([, { matches }]) => matches.length > 0))
})

/** Entries at even steps through the list. */
const spread = <A>(list: ReadonlyArray<A>, count: number) =>
  list.length <= count
    ? list
    : Array.from({ length: count }, (_, i) => list[Math.floor(((i + 0.5) * list.length) / count)]!)

/** Worst, middle and best queries, each query once. */
const choose = (queries: ReadonlyMap<string, QueryRanks>) => {
  const byPrecision = [...queries]
    .map(([query, { matches }]) => ({ query, precision: averagePrecision(matches) }))
    .sort((a, b) => a.precision - b.precision || (a.query < b.query ? -1 : 1))
    .map(({ query }) => query)
  const worst = byPrecision.slice(0, chosen.worst)
  const best = byPrecision.slice(worst.length).slice(-chosen.best)
  const middle = spread(byPrecision.slice(worst.length, byPrecision.length - best.length), chosen.middle)
  return [
    ...worst.map((query) => [query, "worst"] as const),
    ...middle.map((query) => [query, "middle"] as const),
    ...best.reverse().map((query) => [query, "best"] as const)
  ]
}

/** Embeddings of these images at an input port of an evaluation. */
const embeddingsOf = Effect.fnUntraced(function* (run: RunData, task: Task, port: string, wanted: ReadonlySet<string>) {
  const files = (task.steps[0]!.inputs[port] ?? []).flatMap((source) => filesOf(run, source.task, source.port))
  const found = new Map<string, Float32Array>()
  for (const { image, embedding } of yield* readViews(embeddings, files)) {
    const dimension = embedding.length / image.length
    for (const [row, name] of image.entries())
      if (wanted.has(name)) found.set(name, embedding.subarray(row * dimension, (row + 1) * dimension))
  }
  return found
})

const squaredDistance = (a: Float32Array, b: Float32Array) => {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += (a[i]! - b[i]!) ** 2
  return sum
}

/** Ranked images with the junk that lies among them, by distance. */
const withJunk = (ranked: ReadonlyArray<Found>, junk: ReadonlyArray<Found>) => {
  const last = ranked.at(-1)?.distance ?? 0
  const among = junk
    .filter(({ distance }) => distance <= last)
    .sort((a, b) => a.distance - b.distance)
    .slice(0, mostJunk)
  return [...among, ...ranked].sort((a, b) => a.distance - b.distance || (a.rank ?? 0) - (b.rank ?? 0))
}

/**
 * Junk of a query: its own identity on its own camera, and detections of nobody. Re-ranking mixes the distances of what
 * it ranks, so that a plain distance says nothing of where junk would lie; then none is given.
 */
const junkOf = (query: ImageRow, gallery: ImageRows, reranked: boolean) =>
  reranked
    ? []
    : gallery.rows.filter(({ person, camera }) => person === -1 || (person === query.person && camera === query.camera))

const stripsOf = Effect.fnUntraced(function* (
  run: RunData,
  method: { readonly name: string; readonly task: Task; readonly queries: ReadonlyMap<string, QueryRanks> },
  rows: ReadonlyArray<ImageRow>,
  gallery: ImageRows
) {
  const junk = new Map(
    rows.map((row) => [row.image, junkOf(row, gallery, run.config.evaluate.rerank).map(({ image }) => image)])
  )
  const queryVectors = yield* embeddingsOf(run, method.task, "query", new Set(junk.keys()))
  const galleryVectors = yield* embeddingsOf(run, method.task, "gallery", new Set([...junk.values()].flat()))
  const strips = new Map<string, Strip>()
  for (const [query, images] of junk) {
    const own = method.queries.get(query)
    const vector = queryVectors.get(query)
    if (own === undefined || vector === undefined) continue
    const found = images.flatMap((image): ReadonlyArray<Found> => {
      const other = galleryVectors.get(image)
      return other ? [{ image, rank: undefined, distance: squaredDistance(vector, other), verdict: "junk" }] : []
    })
    strips.set(query, {
      method: method.name,
      averagePrecision: averagePrecision(own.matches),
      firstMatch: Math.min(...own.matches),
      found: withJunk(
        own.ranked.toSorted((a, b) => a.rank - b.rank),
        found
      )
    })
  }
  return strips
})

/** The strips of a run's chosen queries, by the first network of each row of its score table; undefined without scores. */
export const rankings = Effect.fn("rankings")(function* (run: RunData) {
  const query = yield* decodedImages(run, "target-query")
  const gallery = yield* decodedImages(run, "target-gallery")
  if (run.rows.length === 0 || query === undefined || gallery === undefined) return undefined
  const tasks = new Map(planTasks(run.config).map((task) => [task.id, task]))
  const methods = yield* Effect.forEach(lastRows(run.rows), ({ name, epoch, tasks: [first] }) =>
    Effect.map(readRanking(run, first!), (queries) => {
      const network = first!.split("/").at(-1)!
      return { name: `${name}${epoch > 0 ? `, epoch ${epoch}` : ""}, ${network}`, task: tasks.get(first!)!, queries }
    })
  )
  const last = methods.at(-1)!
  const byName = new Map(query.rows.map((row) => [row.image, row]))
  const standings = choose(last.queries).filter(([name]) => byName.has(name))
  const rows = standings.map(([name]) => byName.get(name)!)
  const strips = yield* Effect.forEach(methods, (method) => stripsOf(run, method, rows, gallery))
  return {
    methods: methods.map(({ name }) => name),
    queries: standings.map(([name, standing], i) => ({
      query: name,
      person: rows[i]!.person,
      camera: rows[i]!.camera,
      standing,
      strips: strips.flatMap((of) => of.get(name) ?? [])
    })),
    of: last.queries.size,
    reranked: run.config.evaluate.rerank,
    images: { query, gallery }
  } satisfies Rankings
})
