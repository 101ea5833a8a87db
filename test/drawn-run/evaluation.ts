/** Rankings and scores of drawn embeddings, by counting: what the evaluation keeps of each query, without sorting the gallery. */
import type { DrawnImage } from "./images.ts"

export interface RankedRow {
  readonly query: string
  readonly rank: number
  readonly gallery: string
  readonly distance: number
  readonly match: boolean
}

const squaredDistances = (query: Float32Array, gallery: Float32Array): Float32Array => {
  const { length } = query
  const distances = new Float32Array(gallery.length / length)
  for (let row = 0; row < distances.length; row++) {
    let sum = 0
    for (let i = 0; i < length; i++) {
      const apart = query[i]! - gallery[row * length + i]!
      sum += apart * apart
    }
    distances[row] = sum
  }
  return distances
}

/** The rows of smallest distance, nearest first; of equals the earlier row. Distances of what does not count are infinite. */
const nearestRows = (distances: Float32Array, depth: number): ReadonlyArray<number> => {
  const nearest: Array<number> = []
  for (let row = 0; row < distances.length; row++) {
    const own = distances[row]!
    if (own === Infinity || (nearest.length === depth && own >= distances[nearest[depth - 1]!]!)) continue
    nearest.splice(nearest.findLastIndex((other) => distances[other]! <= own) + 1, 0, row)
    nearest.length = Math.min(nearest.length, depth)
  }
  return nearest
}

/** 1 and the number of rows that come before this one. */
const rankOf = (row: number, distances: Float32Array): number => {
  const own = distances[row]!
  let rank = 1
  for (let other = 0; other < distances.length; other++)
    if (distances[other]! < own || (distances[other] === own && other < row)) rank++
  return rank
}

/** The first `depth` ranks of each query and all its matches, junk left out. */
export const rankedRows = (
  queries: ReadonlyArray<DrawnImage>,
  queryVectors: Float32Array,
  gallery: ReadonlyArray<DrawnImage>,
  galleryVectors: Float32Array,
  depth: number
): ReadonlyArray<RankedRow> => {
  const dimension = queryVectors.length / queries.length
  const people = Map.groupBy(gallery.keys(), (row) => gallery[row]!.person)
  return queries.flatMap((query, at) => {
    const distances = squaredDistances(queryVectors.subarray(at * dimension, (at + 1) * dimension), galleryVectors)
    const own = people.get(query.person) ?? []
    for (const row of [...(people.get(-1) ?? []), ...own.filter((one) => gallery[one]!.camera === query.camera)])
      distances[row] = Infinity
    const matches = own.filter((row) => gallery[row]!.camera !== query.camera)
    return [...new Set([...nearestRows(distances, depth), ...matches])]
      .map((row) => ({
        query: query.image,
        rank: rankOf(row, distances),
        gallery: gallery[row]!.image,
        distance: distances[row]!,
        match: gallery[row]!.person === query.person
      }))
      .sort((a, b) => a.rank - b.rank)
  })
}

/** mAP, top-k and the number of queries that have a match, by name, from such rows. */
export const scoresOfRows = (
  rows: ReadonlyArray<RankedRow>,
  ks: ReadonlyArray<number>
): ReadonlyArray<readonly [name: string, value: number]> => {
  const matches = [...Map.groupBy(rows, ({ query }) => query).values()]
    .map((own) => own.filter(({ match }) => match).map(({ rank }) => rank))
    .filter(({ length }) => length > 0)
  const mean = (values: ReadonlyArray<number>) => values.reduce((a, b) => a + b, 0) / values.length
  const precisions = matches.map((ranks) => ranks.reduce((sum, rank, i) => sum + (i + 1) / rank, 0) / ranks.length)
  return [
    ["mAP", mean(precisions)],
    ...ks.map((k) => [`top-${k}`, mean(matches.map(([first]) => Number(first! <= k)))] as const),
    ["queries", matches.length]
  ]
}
