/** Figures for papers: each chart of the report as an SVG that stands alone, and its numbers as CSV. */
import { readFileSync } from "node:fs"
import { type Chart, chartCsv, drawChart, isEmpty } from "#report/chart.ts"
import { lossCharts, scoreCharts, teacherCharts } from "#report/charts.ts"
import { clusterCharts } from "#report/cluster-charts.ts"
import { mapCsv, mapSvg } from "#report/map-figure.ts"
import type { PageData } from "#report/page.ts"
import { stripsSvg } from "#report/ranking-strips.ts"
import { scoreCsv } from "#report/sections.ts"

export interface Figure {
  /** The file's name. */
  readonly file: string
  readonly text: string
}

/** The page's colours on white, without which an SVG of the page has none. */
const colours = /:root \{[^}]*\}/.exec(readFileSync(new URL("./page/page.css", import.meta.url), "utf8"))![0]

/** An SVG of the page as a file of its own, with its colours, on white. */
const standalone = (svg: string): string =>
  svg
    .replace(/^<svg (?![^>]*xmlns=)/, '<svg xmlns="http://www.w3.org/2000/svg" ')
    .replace(
      /^<svg [^>]*>/,
      (start) => `${start}<style>${colours} svg { background: white; font-family: sans-serif }</style>`
    )

const chartFiles = (chart: Chart): ReadonlyArray<Figure> => [
  { file: `${chart.id}.svg`, text: standalone(drawChart(chart).svg) },
  { file: `${chart.id}.csv`, text: chartCsv(chart) }
]

/** All figures of one run or several: scores, losses, clusters, teachers; of each run the map and some ranking strips. */
export const figures = (all: ReadonlyArray<PageData>): ReadonlyArray<Figure> => {
  const charts = [scoreCharts, lossCharts, clusterCharts, teacherCharts].flatMap((of) => of(all))
  const runs = all.flatMap(({ map, rankings }, i) => {
    const number = all.length > 1 ? `-${i + 1}` : ""
    return [
      ...(map
        ? [
            { file: `map${number}.svg`, text: standalone(mapSvg(map.map)) },
            { file: `map${number}.csv`, text: mapCsv(map.map) }
          ]
        : []),
      ...(rankings
        ? [
            {
              file: `rankings${number}.svg`,
              text: standalone(stripsSvg(rankings.rankings, rankings.queryPictures, rankings.pictures))
            }
          ]
        : [])
    ]
  })
  const scores = { file: "scores.csv", text: scoreCsv(all.map(({ run }) => run)) }
  return [scores, ...charts.filter((chart) => !isEmpty(chart)).flatMap(chartFiles), ...runs]
}
