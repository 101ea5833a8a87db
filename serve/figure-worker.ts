/** Makes, in a thread of its own, the figures of a run's page that cost seconds. */
import { Effect } from "effect"
import { mapFigure } from "#report/map-figure.ts"
import { rankingsFigure } from "#report/ranking-strips.ts"
import { readMap, readRankings } from "#report/read-page-data.ts"
import { readRun } from "#report/run-data.ts"

export interface FigureJob {
  readonly folder: string
  readonly figure: "map" | "rankings"
}

const made = Effect.fnUntraced(function* ({ folder, figure }: FigureJob) {
  const run = yield* readRun(folder)
  if (figure === "map") {
    const read = yield* readMap(run)
    return read && mapFigure("map-1", read.map, read.sheets).text
  }
  const read = yield* readRankings(run)
  return read && rankingsFigure("rankings-1", read.rankings, read.queryPictures, read.pictures).text
})

/** The figure as HTML; empty where the run has nothing for it. */
export default (job: FigureJob): Promise<string> => Effect.runPromise(Effect.map(made(job), (text) => text ?? ""))
