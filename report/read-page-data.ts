/** Reads all that a report shows of a run. */
import { Effect } from "effect"
import type { ChartData } from "#report/charts.ts"
import { clusterings } from "#report/clusterings.ts"
import { embeddingMap } from "#report/embedding-map.ts"
import { lossCurves } from "#report/losses.ts"
import type { PageData } from "#report/page.ts"
import { shownImages } from "#report/ranking-strips.ts"
import { rankings } from "#report/rankings.ts"
import { decodedImages, type RunData } from "#report/run-data.ts"
import { teacherDistances } from "#report/teachers.ts"
import { sheetsOf, thumbnails } from "#report/thumbnails.ts"

/** Pixels of the pictures in the page, in height: twice what is shown of strips, for dense screens; a map's are small. */
const heights = { strip: 192, map: 80 } as const

/** The map with a picture of each of its images; undefined where nothing is clustered. */
export const readMap = Effect.fnUntraced(function* (run: RunData) {
  const map = yield* embeddingMap(run)
  const images = yield* decodedImages(run, "target-train")
  if (map === undefined || images === undefined) return undefined
  const sheets = yield* sheetsOf(
    images,
    map.points.map(({ image }) => image),
    heights.map
  )
  return { map, sheets }
})

/** The rankings with their pictures; undefined where nothing is evaluated. */
export const readRankings = Effect.fnUntraced(function* (run: RunData) {
  const found = yield* rankings(run)
  if (found === undefined) return undefined
  const { images, queries } = found
  const queryPictures = yield* thumbnails(images.query, new Set(queries.map(({ query }) => query)), heights.strip)
  const pictures = yield* thumbnails(images.gallery, shownImages(found), heights.strip)
  return { rankings: found, queryPictures, pictures }
})

/** What the charts of a run are made from. */
export const readChartData = Effect.fn("readChartData")(function* (run: RunData) {
  return {
    run,
    losses: yield* lossCurves(run),
    clusterings: yield* clusterings(run),
    teachers: yield* teacherDistances(run)
  } satisfies ChartData
})

/** Everything of a run, its images among it. */
export const readPageData = Effect.fn("readPageData")(function* (run: RunData) {
  return {
    ...(yield* readChartData(run)),
    map: yield* readMap(run),
    rankings: yield* readRankings(run)
  } satisfies PageData
})
