/** The check of the scores: rankings by themselves and against the images, and the metrics computed from them again. */
import { Effect, Stream } from "effect"
import { type Check, type Findings, overTasks } from "#audit/check.ts"
import { inputFiles, type OpenRun, outputFile, placeOf, type RecordedFile } from "#audit/open-run.ts"
import { scores } from "#model/retrieval.ts"
import { readBatches } from "#pipeline/arrow-file.ts"
import { viewOf } from "#schemas/artifact.ts"
import { embeddings } from "#schemas/embeddings.ts"
import { metrics, ranking } from "#schemas/metrics.ts"

interface Shown {
  readonly person: number
  readonly camera: number
}

/** Who each image shows, and by which camera. */
const readPersons = (run: OpenRun, files: ReadonlyArray<RecordedFile>) =>
  Effect.gen(function* () {
    const shown = new Map<string, Shown>()
    for (const file of files)
      yield* Stream.runForEach(readBatches(embeddings, placeOf(run, file)), (batch) =>
        Effect.sync(() => {
          const { image, person, camera } = viewOf(embeddings, batch)
          for (const [row, name] of image.entries()) shown.set(name, { person: person[row]!, camera: camera[row]! })
        })
      )
    return shown
  })

interface QueryRow {
  readonly query: string
  readonly rank: number
  readonly gallery: string
  readonly distance: number
  readonly match: boolean
}

/** What is wrong with a row, given the one before it of the same query. */
const rowProblem = (
  row: QueryRow,
  before: QueryRow | undefined,
  depth: number,
  queries: ReadonlyMap<string, Shown>,
  gallery: ReadonlyMap<string, Shown>
): readonly [column: string, problem: string] | undefined => {
  const asks = queries.get(row.query)
  const found = gallery.get(row.gallery)
  if (asks === undefined) return ["query", `"${row.query}" is no query image`]
  if (found === undefined) return ["gallery", `"${row.gallery}" is no gallery image`]
  const match = asks.person === found.person
  if (match && asks.camera === found.camera)
    return ["gallery", `"${row.gallery}" is junk of its query: same person, same camera`]
  if (match !== row.match)
    return ["match", `${row.match}, the query shows ${asks.person}, the gallery image ${found.person}`]
  const last = before?.rank ?? 0
  if (row.rank <= last || (row.rank > last + 1 && last < depth)) return ["rank", `${row.rank} after ${last}`]
  if (row.rank > depth && !row.match) return ["rank", `${row.rank} is beyond ${depth}, and no match`]
  if (!(row.distance >= (before?.distance ?? Number.NEGATIVE_INFINITY)))
    return ["distance", `${row.distance} at rank ${row.rank}, ${before?.distance} before it`]
  return undefined
}

/** The ranks of each query's matches; what is wrong with a row is a finding. */
const readRanking = (
  run: OpenRun,
  file: RecordedFile,
  depth: number,
  queries: ReadonlyMap<string, Shown>,
  gallery: ReadonlyMap<string, Shown>,
  findings: Findings
) =>
  Effect.gen(function* () {
    const matches = new Map<string, Array<number>>()
    let before: QueryRow | undefined
    let at = 0
    yield* Stream.runForEach(readBatches(ranking, placeOf(run, file)), (batch) =>
      Effect.sync(() => {
        const view = viewOf(ranking, batch)
        for (const [i, query] of view.query.entries()) {
          const [rank, distance] = [view.rank[i]!, view.distance[i]!]
          const row: QueryRow = { query, rank, distance, gallery: view.gallery[i]!, match: view.match[i]! }
          const problem = rowProblem(row, before?.query === query ? before : undefined, depth, queries, gallery)
          if (problem) findings.add({ file: file.path, row: at, column: problem[0], problem: problem[1] })
          const own = matches.get(query) ?? []
          if (row.match) own.push(rank)
          matches.set(query, own)
          before = row
          at++
        }
      })
    )
    return matches
  })

/** Mean of the precision at each match; undefined without any. */
export const averagePrecision = (matches: ReadonlyArray<number>): number | undefined =>
  matches.length === 0 ? undefined : matches.reduce((sum, rank, i) => sum + (i + 1) / rank, 0) / matches.length

const checkMetrics = (
  run: OpenRun,
  file: RecordedFile,
  matches: ReadonlyMap<string, ReadonlyArray<number>>,
  findings: Findings
) =>
  Stream.runForEach(readBatches(metrics, placeOf(run, file)), (batch) =>
    Effect.sync(() => {
      const { name, value } = viewOf(metrics, batch)
      const ks = name.flatMap((one) => (one.startsWith("top-") ? [Number(one.slice(4))] : []))
      const rankings = [...matches.values()].map((own) => ({ matches: own, averagePrecision: averagePrecision(own) }))
      const { queries, mAP, top } = scores(rankings, ks)
      const again = new Map([["mAP", mAP], ["queries", queries], ...ks.map((k, i) => [`top-${k}`, top[i]!] as const)])
      for (const [row, one] of name.entries()) {
        findings.checked++
        const expected = again.get(one)
        // Sums in another order differ in the last bits.
        if (expected !== undefined && !(Math.abs(expected - value[row]!) <= 1e-12))
          findings.add({
            file: file.path,
            row,
            column: "value",
            problem: `${one} is ${value[row]}, the rankings give ${expected}`
          })
      }
    })
  )

export const rankings: Check = {
  name: "rankings and metrics",
  about:
    "matches are those of the images, ranks and distances ascend, junk is left out; the metrics are those of the rankings",
  unit: "metrics",
  run: (run, findings, tell) =>
    overTasks(run, "evaluate", findings, tell, (task, _, { params, inputs }) =>
      Effect.gen(function* () {
        const [ranked, scored] = ["ranking", "metrics"].map((port) => outputFile(run, task, port))
        if (!ranked || !scored) return
        const queries = yield* readPersons(run, inputFiles(run, inputs.query))
        const gallery = yield* readPersons(run, inputFiles(run, inputs.gallery))
        const matches = yield* readRanking(run, ranked, Number(params.depth), queries, gallery, findings)
        yield* checkMetrics(run, scored, matches, findings)
      })
    )
}
