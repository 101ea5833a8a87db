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
  return Float32Array.from({ length: gallery.length / length }, (_, row) => {
    let sum = 0
    for (let i = 0; i < length; i++) sum += (query[i]! - gallery[row * length + i]!) ** 2
    return sum
  })
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
  return queries.flatMap((query, at) => {
    const distances = squaredDistances(queryVectors.subarray(at * dimension, (at + 1) * dimension), galleryVectors)
    const isJunk = ({ person, camera }: DrawnImage) =>
      person === -1 || (person === query.person && camera === query.camera)
    const valid = [...gallery.keys()].filter((row) => !isJunk(gallery[row]!))
    const isBefore = (a: number, b: number) => distances[a]! - distances[b]! || a - b
    const first = valid.reduce<Array<number>>((nearest, row) => {
      if (nearest.length < depth || isBefore(row, nearest.at(-1)!) < 0)
        nearest.splice(nearest.findLastIndex((other) => isBefore(other, row) < 0) + 1, 0, row)
      return nearest.length > depth ? nearest.slice(0, depth) : nearest
    }, [])
    const kept = new Set([...first, ...valid.filter((row) => gallery[row]!.person === query.person)])
    return [...kept]
      .map((row) => ({
        query: query.image,
        rank: 1 + valid.reduce((count, other) => count + Number(isBefore(other, row) < 0), 0),
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
