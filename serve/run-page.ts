/** The page of a run that is kept current: the report's, with what the run is doing, and its pictures when they are asked for. */
import { stat } from "node:fs/promises"
import { Effect } from "effect"
import { auditFile } from "#audit/kept-audit.ts"
import { manifestFile } from "#pipeline/manifest.ts"
import { chartFigure, isEmpty } from "#report/chart.ts"
import type { ChartData } from "#report/charts.ts"
import { type Html, html } from "#report/html.ts"
import { chartSections, dataOf, mapTitle, rankingsTitle, runSections, type Section } from "#report/page.ts"
import { headline } from "#report/sections.ts"
import { type ChartReader, chartReader } from "#serve/chart-reader.ts"
import { container, type Part } from "#serve/parts.ts"
import { checkOwnFiles } from "#serve/run-folders.ts"
import { type RunStatus, runStatus } from "#serve/run-status.ts"
import { nowHtml } from "#serve/status-html.ts"

/** A run as a page shows it at one time. */
export interface SeenRun {
  readonly status: RunStatus
  /** None where the run could not be read yet. */
  readonly data: ChartData | undefined
  /** Why it could not be read, or not be read again. */
  readonly problem: string | undefined
  /** Tells one state of its artifacts from another. */
  readonly edition: string
}

/** While a run goes on its page is drawn for at most this share of the time of one core. */
const share = 1 / 100

const block = (id: string, body: Html | "" | undefined): Part => ({ id, html: html`<div id="${id}">${body}</div>` })

const chartPart = (chart: Parameters<typeof chartFigure>[0]): Part => ({ id: chart.id, html: chartFigure(chart) })

const sectionParts = ({ id, body, charts }: Section): ReadonlyArray<Part> => {
  if (charts === undefined) return [block(`${id}-body`, body)]
  const shown = charts.filter((chart) => !isEmpty(chart)).map(chartPart)
  const own = shown.length > 0 ? body : html`${body}<p class="quiet">Nothing to draw yet.</p>`
  return [block(`${id}-body`, own), container(`${id}-charts`, "charts", shown)]
}

/** In place of a figure that costs seconds: it is drawn once the run is over, or when it is asked for. */
const askedFor = (figure: string, name: string, { status, edition }: SeenRun): Part => {
  const id = `${figure}-figure`
  return {
    id,
    html:
      status.state === "running"
        ? html`<div id="${id}" class="asked-for" data-figure="${figure}"><button type="button">Draw ${name} now</button> <span class="quiet" role="status">It takes seconds of a core, so it is not drawn by itself while the run goes on.</span></div>`
        : html`<div id="${id}" class="asked-for" data-figure="${figure}" data-edition="${edition}"><span class="quiet" role="status">Drawn when it comes into view.</span></div>`
  }
}

interface LiveSection {
  readonly section: Section
  readonly parts: ReadonlyArray<Part>
}

const drawnSections = (seen: SeenRun, data: ChartData): ReadonlyArray<LiveSection> => {
  const [map, rankings] = [
    { id: "map", title: mapTitle, body: html`` },
    { id: "rankings", title: rankingsTitle, body: html`` }
  ]
  const none = (what: string) => html`<p class="quiet">${what}</p>`
  const plain = (section: Section) => ({ section, parts: sectionParts(section) })
  const mapPart =
    data.clusterings.length > 0
      ? askedFor("map", "the map", seen)
      : block("map-figure", none("Nothing is clustered yet."))
  const rankingsPart =
    data.run.rows.length > 0
      ? askedFor("rankings", "the rankings", seen)
      : block("rankings-figure", none("Nothing is evaluated yet."))
  return [
    ...chartSections([data]).map(plain),
    { section: map, parts: [mapPart] },
    { section: rankings, parts: [rankingsPart] },
    ...runSections([data]).map(plain)
  ]
}

/** The sections of what is read, as they were drawn: to draw them at each look would take most of what a page costs. */
const drawn = new WeakMap<ChartData, { readonly key: string; readonly sections: ReadonlyArray<LiveSection> }>()

/** The sections of the page with their parts. */
export const liveSections = (seen: SeenRun, data: ChartData): ReadonlyArray<LiveSection> => {
  const key = `${seen.status.state} ${seen.edition}`
  const before = drawn.get(data)
  if (before?.key === key) return before.sections
  const sections = drawnSections(seen, data)
  drawn.set(data, { key, sections })
  return sections
}

/** All that changes on the page, above the sections and in them. */
export const partsOf = (seen: SeenRun): ReadonlyArray<Part> => {
  const { data, problem, status } = seen
  return [
    block("problem", problem === undefined ? "" : html`<p class="wrong">${problem}</p>`),
    { id: "now", html: nowHtml(status) },
    ...(data
      ? [
          block("about", html`<p class="quiet">${dataOf(data.run)}</p>`),
          block("headline-block", headline(data.run)),
          ...liveSections(seen, data).flatMap(({ parts }) => parts)
        ]
      : [])
  ]
}

const editionOf = (folder: string) =>
  Effect.promise(async () => {
    const states = await Promise.all(
      [manifestFile(folder), auditFile(folder)].map((file) => stat(file).catch(() => undefined))
    )
    return states.map((found) => `${found?.mtimeMs ?? 0}-${found?.size ?? 0}`).join("-")
  })

/** Looks at a run again and again; its charts are read anew when its artifacts changed, and its share of the time allows it. */
export const runWatcher = (folder: string): Effect.Effect<SeenRun> => {
  const charts: ChartReader = chartReader(folder)
  let seen: Omit<SeenRun, "status"> = { data: undefined, problem: undefined, edition: "" }
  let notBefore = 0

  const readAnew = (edition: string, status: RunStatus) =>
    Effect.gen(function* () {
      const before = process.cpuUsage()
      seen = yield* charts.read.pipe(
        Effect.map((data) => ({ data, problem: undefined, edition })),
        Effect.catch((error) => Effect.succeed({ ...seen, edition, problem: error.message }))
      )
      if (seen.data) liveSections({ status, ...seen }, seen.data)
      const { user, system } = process.cpuUsage(before)
      notBefore = performance.now() + (user + system) / 1000 / share
    })

  return Effect.gen(function* () {
    const checked = yield* Effect.result(checkOwnFiles(folder))
    if (checked._tag === "Failure") {
      const status = { state: "not started", progress: undefined, last: undefined, problem: undefined } as const
      return { status, data: undefined, problem: checked.failure.message, edition: "" }
    }
    const status = yield* runStatus(folder)
    const edition = yield* editionOf(folder)
    const free = status.state !== "running" || performance.now() >= notBefore
    if (edition !== seen.edition && (free || seen.data === undefined)) yield* readAnew(edition, status)
    return { status, ...seen }
  })
}
