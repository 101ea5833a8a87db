/**
 * Charts: what one shows, drawn to SVG by Observable Plot when the report is written, and as table and CSV. A chart
 * needs no script to be seen, printed or read out; its colours are CSS variables, so that it follows light and dark.
 */
import * as Plot from "@observablehq/plot"
import { parseHTML } from "linkedom"
import { escaped, Html, html, jsonScript } from "#report/html.ts"

export interface Series {
  readonly name: string
  /** A value for each x; NaN where there is none. */
  readonly values: ReadonlyArray<number>
  /** Place in the palette. */
  readonly colour: number
  /** Thin, for what stands behind the main lines. */
  readonly faint?: boolean
}

export interface Chart {
  /** Of the figure's file and its place in the page. */
  readonly id: string
  readonly title: string
  /** What it shows and how it was computed, for the reader who was not there. */
  readonly about: string
  readonly kind: "lines" | "bars"
  readonly x: { readonly label: string; readonly values: ReadonlyArray<number>; readonly digits: number }
  readonly y: { readonly label: string; readonly digits: number; readonly fromZero?: boolean }
  readonly series: ReadonlyArray<Series>
  /** Horizontal lines to compare with. */
  readonly references?: ReadonlyArray<{ readonly name: string; readonly value: number; readonly colour: number }>
}

/** Colours of the palette; `reference` is the grey of what others are compared with. */
export const paletteSize = 7
export const reference = -1

const dashes = ["", "7 3", "2 3", "9 3 2 3"]

export const colourOf = (index: number) =>
  index === reference ? "var(--reference)" : `var(--series-${index % paletteSize})`

/** Lines beyond the palette have its colours again, dashed. */
const dashOf = (index: number) => dashes[Math.max(0, Math.floor(index / paletteSize)) % dashes.length]!

const size = { width: 620, height: 300, top: 26, bottom: 38, left: 46 } as const

const { document } = parseHTML("<!doctype html><html><body></body></html>")

interface Label {
  readonly text: string
  readonly y: number
  readonly colour: number
}

/** Labels moved apart, each as near to its line as the others leave room. */
const apart = (labels: ReadonlyArray<Label>): ReadonlyArray<Label> => {
  const step = 13
  const sorted = labels.toSorted((a, b) => a.y - b.y)
  const placed: Array<Label> = []
  for (const label of sorted) placed.push({ ...label, y: Math.max(label.y, (placed.at(-1)?.y ?? -step) + step) })
  let floor: number = size.height - size.bottom
  for (let i = placed.length - 1; i >= 0; i--) {
    if (placed[i]!.y > floor) placed[i] = { ...placed[i]!, y: floor }
    floor = placed[i]!.y - step
  }
  return placed
}

const longestLabel = 26

const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" })

/** A name as it fits beside a line; letters and emoji of several code points stay whole. */
const shortened = (text: string) => {
  if (text.length <= longestLabel) return text
  const letters = Array.from(graphemes.segment(text), ({ segment }) => segment)
  return letters.length > longestLabel ? `${letters.slice(0, longestLabel - 1).join("")}…` : text
}

const lastFinite = (values: ReadonlyArray<number>) => values.findLast(Number.isFinite)

const labelText = ({ text, y, colour }: Label, x: number) =>
  `<text x="${x}" y="${y.toFixed(1)}" dy="0.32em" fill="${colourOf(colour)}" text-anchor="start">${escaped(shortened(text))}</text>`

const rowsOf = ({ x, series }: Chart) =>
  series.flatMap(({ values, ...one }) =>
    values.flatMap((value, i) => (Number.isFinite(value) ? [{ ...one, x: x.values[i]!, value }] : []))
  )

type Mark = Plot.Markish

const lineMarks = (chart: Chart): ReadonlyArray<Mark> =>
  chart.series.flatMap((series) => {
    const rows = rowsOf({ ...chart, series: [series] })
    const stroke = colourOf(series.colour)
    const line = Plot.lineY(rows, {
      x: "x",
      y: "value",
      stroke,
      strokeWidth: series.faint ? 1 : 2,
      strokeOpacity: series.faint ? 0.55 : 1,
      strokeDasharray: dashOf(series.colour),
      ariaLabel: () => series.name
    })
    // A dot for each value, as long as they do not run together.
    const dots =
      !series.faint && rows.length <= 60 ? [Plot.dot(rows, { x: "x", y: "value", r: 2.4, fill: stroke })] : []
    return [line, ...dots]
  })

const barMarks = (chart: Chart): ReadonlyArray<Mark> => {
  const { values } = chart.x
  const step = values.length > 1 ? values[1]! - values[0]! : 1
  const width = step / chart.series.length
  return chart.series.map((series, i) =>
    Plot.rectY(rowsOf({ ...chart, series: [series] }), {
      x1: (row: { x: number }) => row.x - step / 2 + i * width + step * 0.04,
      x2: (row: { x: number }) => row.x - step / 2 + (i + 1) * width - step * 0.04,
      y: "value",
      fill: colourOf(series.colour),
      ariaLabel: () => series.name
    })
  )
}

const referenceMarks = ({ references = [] }: Chart): ReadonlyArray<Mark> =>
  references.map(({ name, value, colour }) =>
    Plot.ruleY([value], { stroke: colourOf(colour), strokeDasharray: "5 4", strokeWidth: 1.3, ariaLabel: () => name })
  )

const domainOf = (chart: Chart): [number, number] => {
  const values = [...rowsOf(chart).map(({ value }) => value), ...(chart.references ?? []).map(({ value }) => value)]
  const [low, high] = [Math.min(...values), Math.max(...values)]
  const margin = (high - low || Math.abs(high) || 1) * 0.06
  return [chart.y.fromZero || chart.kind === "bars" ? Math.min(0, low) : low - margin, high + margin]
}

const drawn = (chart: Chart) => {
  const names = [...chart.series.filter(({ faint }) => !faint), ...(chart.references ?? [])].map(({ name }) =>
    shortened(name)
  )
  const right = 14 + 6.4 * Math.max(...names.map(({ length }) => length))
  const integers = chart.x.values.every(Number.isInteger)
  const [first, last] = [Math.min(...chart.x.values), Math.max(...chart.x.values)]
  const plot = Plot.plot({
    document: document as unknown as Document,
    width: size.width,
    height: size.height,
    marginTop: size.top,
    marginBottom: size.bottom,
    marginLeft: size.left,
    marginRight: right,
    style: { fontSize: "11px" },
    x: {
      label: chart.x.label,
      ...(chart.kind === "lines" ? { domain: first === last ? [first - 0.5, last + 0.5] : [first, last] } : {}),
      ...(integers && last - first <= 12 && chart.kind === "lines" ? { ticks: [...new Set(chart.x.values)] } : {}),
      tickFormat: (value: number) => String(value)
    },
    y: { label: chart.y.label, grid: true, domain: domainOf(chart), nice: true },
    marks: [
      ...(chart.kind === "bars" ? [Plot.ruleY([0])] : []),
      ...referenceMarks(chart),
      ...(chart.kind === "lines" ? lineMarks(chart) : barMarks(chart))
    ]
  }) as unknown as SVGSVGElement & Plot.Plot
  return { plot, right }
}

/** Names at the right ends of the lines, in their colours. */
const endLabels = (chart: Chart, y: (value: number) => number): ReadonlyArray<Label> => [
  ...chart.series.flatMap(({ name, values, colour, faint }) => {
    const last = lastFinite(values)
    return faint || last === undefined ? [] : [{ text: name, y: y(last), colour }]
  }),
  ...(chart.references ?? []).map(({ name, value, colour }) => ({ text: name, y: y(value), colour }))
]

/** Whether no value is there to be shown. */
export const isEmpty = (chart: Chart) => rowsOf(chart).length === 0

interface Drawing {
  readonly svg: string
  /** For the page's script: where each x lies, and the plot's height, in the units of the drawing. */
  readonly places: { readonly xs: ReadonlyArray<number>; readonly top: number; readonly bottom: number }
}

/**
 * The whole drawing has one label, and parts of it may have none: what Plot labels keeps that as data, for programs.
 */
const withoutInnerLabels = (plot: Element) => {
  for (const part of plot.querySelectorAll("[aria-label]")) {
    part.setAttribute("data-name", part.getAttribute("aria-label")!)
    part.removeAttribute("aria-label")
  }
}

/** The chart as SVG, with its names beside the lines. */
export const drawChart = (chart: Chart): Drawing => {
  if (isEmpty(chart)) throw new Error(`chart ${chart.id} has no values`)
  const { plot, right } = drawn(chart)
  const x = plot.scale("x")!
  const y = plot.scale("y")!
  const edge = size.width - right + 8
  const labels = apart(endLabels(chart, (value) => y.apply(value))).map((label) => labelText(label, edge))
  const described = `role="img" aria-label="${escaped(`${chart.title}. The same numbers are in the table below.`)}"`
  withoutInnerLabels(plot)
  // What is put in is given by functions: in a text, `$&` of a name would stand for what it replaces.
  const svg = plot.outerHTML
    .replace(/<style>[\s\S]*?<\/style>/, "")
    .replace("<svg ", () => `<svg ${described} `)
    .replace("</svg>", () => `<g font-size="11">${labels.join("")}</g></svg>`)
  const xs = chart.x.values.map((value) => Math.round(x.apply(value) * 10) / 10)
  return { svg, places: { xs, top: size.top, bottom: size.height - size.bottom } }
}

const cellText = (value: number, digits: number) => (Number.isFinite(value) ? value.toFixed(digits) : "–")

const columnsOf = (chart: Chart) => [
  ...chart.series,
  ...(chart.references ?? []).map(({ name, value }) => ({ name, values: chart.x.values.map(() => value) }))
]

/** The chart's numbers as a table. */
export const chartTable = (chart: Chart): Html => {
  const columns = columnsOf(chart)
  const row = (x: number, i: number) =>
    html`<tr><th scope="row">${cellText(x, chart.x.digits)}</th>${columns.map(
      ({ values }) => html`<td>${cellText(values[i]!, chart.y.digits)}</td>`
    )}</tr>`
  return html`<table><caption class="unseen">${chart.title}: ${chart.y.label}</caption>
<thead><tr><th scope="col">${chart.x.label}</th>${columns.map(({ name }) => html`<th scope="col">${name}</th>`)}</tr></thead>
<tbody>${chart.x.values.map(row)}</tbody></table>`
}

/** A field of CSV, quoted where it must be. */
const csvField = (value: string | number) => {
  const text = String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

export const csvLines = (rows: ReadonlyArray<ReadonlyArray<string | number>>) =>
  rows.map((row) => `${row.map(csvField).join(",")}\n`).join("")

/** The chart's numbers in full precision, a row an x. */
export const chartCsv = (chart: Chart): string => {
  const columns = columnsOf(chart)
  return csvLines([
    [chart.x.label, ...columns.map(({ name }) => name)],
    ...chart.x.values.map((x, i) => [x, ...columns.map(({ values }) => (Number.isFinite(values[i]) ? values[i]! : ""))])
  ])
}

/** The chart with its caption and the table behind it; nothing where there are no values. */
export const chartFigure = (chart: Chart): Html => {
  if (isEmpty(chart)) return html``
  const { svg, places } = drawChart(chart)
  const colours = [...chart.series, ...(chart.references ?? [])].map(({ colour }) => colourOf(colour))
  return html`<figure class="chart" id="${chart.id}" tabindex="0" aria-label="${chart.title}; arrow keys read its values">
<figcaption><strong>${chart.title}</strong> ${chart.about}</figcaption>
<div class="plot">${new Html(svg)}</div>
<div class="reading" role="status"></div>
<details><summary>Table</summary><div class="scroll" tabindex="0" role="region" aria-label="Values of ${chart.title}">${chartTable(chart)}</div></details>
${jsonScript("places", { ...places, width: size.width, height: size.height, colours })}
</figure>`
}
