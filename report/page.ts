/** The page of a report: one HTML file that asks no one for anything. */
import { auditFigure } from "#report/audit-section.ts"
import { type Chart, chartFigure } from "#report/chart.ts"
import { type ChartData, lossCharts, scoreCharts, teacherCharts } from "#report/charts.ts"
import { clusterCharts } from "#report/cluster-charts.ts"
import type { EmbeddingMap } from "#report/embedding-map.ts"
import { type Html, html } from "#report/html.ts"
import { figureScripts, htmlDocument, policyOf, style } from "#report/html-document.ts"
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

/** A part of the page under a heading; its charts stand after its body. */
export interface Section {
  readonly id: string
  readonly title: string
  readonly body: Html
  readonly charts?: ReadonlyArray<Chart>
}

/** The data, the backbone and the seed of a run. */
export const dataOf = ({ config }: RunData) => {
  const named = ({ format, root }: { readonly format: string; readonly root: string }) =>
    `${root.split("/").at(-1)} (${format})`
  const { source, target, height, width } = config.data
  const domains = source ? `${named(source)} → ${named(target)}` : `${named(target)} alone`
  const { backbone } = config.model
  const network = typeof backbone === "string" ? backbone : "a residual network of its own"
  return html`${domains}, ${height}×${width}; ${network}; seed ${config.seed}`
}

/** Of several runs each has its own heading. */
const perRun = <Data extends ChartData>(
  all: ReadonlyArray<Data>,
  body: (data: Data, index: number) => Html | undefined
): Html =>
  html`${all.map((data, index) => {
    const own = body(data, index)
    if (own === undefined) return html``
    return all.length > 1 ? html`<h3>${data.run.label}</h3>${own}` : own
  })}`

/** Scores, losses and clusters. */
export const chartSections = (all: ReadonlyArray<ChartData>): ReadonlyArray<Section> => {
  const runs = all.map(({ run }) => run)
  const known = all.some(({ clusterings }) =>
    clusterings.some(({ epochs }) => epochs.some(({ identity }) => identity !== undefined))
  )
  return [
    {
      id: "scores",
      title: "Scores",
      body: html`${scoreTable(runs)}${differencesTable(runs)}<h3>By epoch</h3>`,
      charts: scoreCharts(all)
    },
    { id: "training", title: "Training", body: html``, charts: [...lossCharts(all), ...teacherCharts(all)] },
    {
      id: "clusters",
      title: "Clusters",
      body: known
        ? html``
        : html`<p>Identities of the target's training images are not known, so purity and NMI are not.</p>`,
      charts: clusterCharts(all)
    }
  ]
}

export const mapTitle = "Map of the target"
export const rankingsTitle = "Rankings"

const pictureSections = (all: ReadonlyArray<PageData>): ReadonlyArray<Section> => [
  ...(all.some(({ map }) => map)
    ? [
        {
          id: "map",
          title: mapTitle,
          body: perRun(all, ({ map }, i) => map && mapFigure(`map-${i + 1}`, map.map, map.sheets))
        }
      ]
    : []),
  ...(all.some(({ rankings }) => rankings)
    ? [
        {
          id: "rankings",
          title: rankingsTitle,
          body: perRun(
            all,
            ({ rankings }, i) =>
              rankings &&
              rankingsFigure(`rankings-${i + 1}`, rankings.rankings, rankings.queryPictures, rankings.pictures)
          )
        }
      ]
    : [])
]

/** The stages with their times, the last audit, and the run file. */
export const runSections = (all: ReadonlyArray<ChartData>): ReadonlyArray<Section> => [
  { id: "stages", title: "Stages", body: perRun(all, ({ run }, i) => stagesFigure(`stages-${i + 1}`, run)) },
  { id: "audit", title: "Audit", body: perRun(all, ({ run }) => auditFigure(run)) },
  { id: "run-file", title: "Run file", body: perRun(all, ({ run }) => runFileFigure(run)) }
]

/** Links to the sections. */
export const partsNavigation = (sections: ReadonlyArray<Section>): Html =>
  html`<nav class="parts" aria-label="Parts of the report"><ul>${sections.map(({ id, title }) => html`<li><a href="#${id}">${title}</a></li>`)}</ul></nav>`

/** A section around what stands in it. */
export const sectionHtml = ({ id, title }: Section, content: Html): Html =>
  html`<section id="${id}" aria-labelledby="${id}-title"><h2 id="${id}-title">${title}</h2>${content}</section>`

const contentOf = ({ body, charts }: Section) =>
  charts ? html`${body}<div class="charts">${charts.map(chartFigure)}</div>` : body

export const written = `Written by mmt ${packageJson.version}. Scores are of the last epoch; images are of the run's own data set.`

/** The whole page of one run or several. */
export const page = (all: ReadonlyArray<PageData>): string => {
  const sections = [...chartSections(all), ...pictureSections(all), ...runSections(all)]
  const title = all.map(({ run }) => run.label).join(", ")
  const parts = { style, scripts: figureScripts }
  return htmlDocument({
    ...parts,
    title: `${title} – mmt report`,
    head: html`<meta http-equiv="Content-Security-Policy" content="${policyOf(parts)}">`,
    body: html`<header><h1>${all.map(({ run }, i) => html`${i > 0 ? ", " : ""}<bdi>${run.label}</bdi>`)}</h1>${all.map(
      ({ run }) =>
        html`<p class="quiet">${all.length > 1 ? html`<b><bdi>${run.label}</bdi></b>: ` : ""}${dataOf(run)}</p>`
    )}${all.length === 1 ? headline(all[0]!.run) : ""}</header>
${partsNavigation(sections)}
<main>${sections.map((section) => sectionHtml(section, contentOf(section)))}</main>
<footer>${written}</footer>`
  })
}
