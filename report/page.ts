/** The page of a report: one HTML file that asks no one for anything. */
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { chartFigure } from "#report/chart.ts"
import { type ChartData, lossCharts, scoreCharts, teacherCharts } from "#report/charts.ts"
import { clusterCharts } from "#report/cluster-charts.ts"
import type { EmbeddingMap } from "#report/embedding-map.ts"
import { type Html, html } from "#report/html.ts"
import { mapFigure } from "#report/map-figure.ts"
import { type Pictures, rankingsFigure } from "#report/ranking-strips.ts"
import type { Rankings } from "#report/rankings.ts"
import type { RunData } from "#report/run-data.ts"
import { differencesTable, headline, runFileFigure, scoreTable, stagesFigure } from "#report/sections.ts"
import type { Sheets } from "#report/thumbnails.ts"
import packageJson from "../package.json" with { type: "json" }

/** All that the page shows of one run. */
export interface PageData extends ChartData {
  readonly map: { readonly map: EmbeddingMap; readonly sheets: Sheets } | undefined
  readonly rankings:
    | { readonly rankings: Rankings; readonly queryPictures: Pictures; readonly pictures: Pictures }
    | undefined
}

interface Section {
  readonly id: string
  readonly title: string
  readonly body: Html
}

const text = (url: URL) => readFileSync(url, "utf8")

const style = text(new URL("./page/page.css", import.meta.url))
const scripts = [
  text(new URL("./page/charts.mjs", import.meta.url)),
  text(new URL("./page/map.mjs", import.meta.url)),
  text(new URL("./page/rankings.mjs", import.meta.url))
]

const hashOf = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`

/** Nothing is fetched, and no script but the page's own runs, whatever the names in a data set hold. */
const policy = [
  "default-src 'none'",
  "img-src data:",
  `script-src ${scripts.map(hashOf).join(" ")}`,
  `style-src ${hashOf(style)}`,
  "style-src-attr 'unsafe-inline'",
  "base-uri 'none'",
  "form-action 'none'"
].join("; ")

const dataOf = ({ config }: RunData) => {
  const named = ({ format, root }: { readonly format: string; readonly root: string }) =>
    `${root.split("/").at(-1)} (${format})`
  const { source, target, height, width } = config.data
  const domains = source ? `${named(source)} → ${named(target)}` : `${named(target)} alone`
  const { backbone } = config.model
  const network = typeof backbone === "string" ? backbone : "a residual network of its own"
  return html`${domains}, ${height}×${width}; ${network}; seed ${config.seed}`
}

/** Of several runs each has its own heading. */
const perRun = (all: ReadonlyArray<PageData>, body: (data: PageData, index: number) => Html | undefined): Html =>
  html`${all.map((data, index) => {
    const own = body(data, index)
    if (own === undefined) return html``
    return all.length > 1 ? html`<h3>${data.run.label}</h3>${own}` : own
  })}`

const charts = (body: ReadonlyArray<Parameters<typeof chartFigure>[0]>) =>
  html`<div class="charts">${body.map(chartFigure)}</div>`

const sectionsOf = (all: ReadonlyArray<PageData>): ReadonlyArray<Section> => {
  const runs = all.map(({ run }) => run)
  const known = all.some(({ clusterings }) =>
    clusterings.some(({ epochs }) => epochs.some(({ identity }) => identity !== undefined))
  )
  const sections: ReadonlyArray<Section | undefined> = [
    {
      id: "scores",
      title: "Scores",
      body: html`${scoreTable(runs)}${differencesTable(runs)}<h3>By epoch</h3>${charts(scoreCharts(all))}`
    },
    { id: "training", title: "Training", body: charts([...lossCharts(all), ...teacherCharts(all)]) },
    {
      id: "clusters",
      title: "Clusters",
      body: html`${known ? "" : html`<p>Identities of the target's training images are not known, so purity and NMI are not.</p>`}${charts(clusterCharts(all))}`
    },
    all.some(({ map }) => map)
      ? {
          id: "map",
          title: "Map of the target",
          body: perRun(all, ({ map }, i) => map && mapFigure(`map-${i + 1}`, map.map, map.sheets))
        }
      : undefined,
    all.some(({ rankings }) => rankings)
      ? {
          id: "rankings",
          title: "Rankings",
          body: perRun(
            all,
            ({ rankings }, i) =>
              rankings &&
              rankingsFigure(`rankings-${i + 1}`, rankings.rankings, rankings.queryPictures, rankings.pictures)
          )
        }
      : undefined,
    {
      id: "stages",
      title: "Stages",
      body: perRun(all, ({ run }, i) => stagesFigure(`stages-${i + 1}`, run))
    },
    { id: "run-file", title: "Run file", body: perRun(all, ({ run }) => runFileFigure(run)) }
  ]
  return sections.filter((section) => section !== undefined)
}

/** The whole page of one run or several. */
export const page = (all: ReadonlyArray<PageData>): string => {
  const sections = sectionsOf(all)
  const title = all.map(({ run }) => run.label).join(", ")
  const head = html`<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} – mmt report</title>`
  const body = html`<header><h1>${title}</h1>${all.map(
    ({ run }) => html`<p class="quiet">${all.length > 1 ? html`<b>${run.label}</b>: ` : ""}${dataOf(run)}</p>`
  )}${all.length === 1 ? headline(all[0]!.run) : ""}</header>
<nav class="parts" aria-label="Parts of the report"><ul>${sections.map(({ id, title: name }) => html`<li><a href="#${id}">${name}</a></li>`)}</ul></nav>
<main>${sections.map(({ body: own, id, title: name }) => html`<section id="${id}" aria-labelledby="${id}-title"><h2 id="${id}-title">${name}</h2>${own}</section>`)}</main>
<footer>Written by mmt ${packageJson.version}. Scores are of the last epoch; images are of the run's own data set.</footer>`
  return `<!doctype html>
<html lang="en"><head>${head.text}<style>${style}</style></head><body>${body.text}${scripts
    .map((script) => `<script type="module">${script}</script>`)
    .join("")}</body></html>
`
}
