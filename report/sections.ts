/** The parts of the report's page that are tables and text. */
import { bestNetworks, lastRows, type ScoredRow } from "#pipeline/score.ts"
import { mainAdaptation } from "#pipeline/task-plan.ts"
import { csvLines } from "#report/chart.ts"
import { Html, html } from "#report/html.ts"
import type { RunData } from "#report/run-data.ts"
import { type StageGroup, stageGraphSvg, stageGroups, timeText } from "#report/stage-graph.ts"

const shown = (value: number | undefined) => (value === undefined ? "–" : value.toFixed(1))

const metricsOf = (runs: ReadonlyArray<RunData>) =>
  [...new Set(runs.flatMap(({ rows }) => rows.flatMap(({ mean }) => Object.keys(mean))))].filter(
    (name) => name !== "queries"
  )

const scoreRow = (run: RunData, row: ScoredRow, metrics: ReadonlyArray<string>) => {
  const best = bestNetworks(run.rows).find(({ name }) => name === row.name)
  const networks = row.networks.map((scores) => shown(scores.mAP)).join(" / ")
  return html`<tr class="${row.name === mainAdaptation ? "main" : "other"}"><th scope="row">${row.name}</th><td>${
    row.epoch > 0 ? row.epoch : "–"
  }</td>${metrics.map((name) => html`<td>${shown(row.mean[name])}</td>`)}<td>${networks}</td><td class="quiet">${
    best ? `${shown(best.scores.mAP)} (epoch ${best.epoch}, ${best.network})` : "–"
  }</td></tr>`
}

/** The scores of every run's methods after their last epoch; the best epoch is named for what it is. */
export const scoreTable = (runs: ReadonlyArray<RunData>): Html => {
  const metrics = metricsOf(runs)
  if (metrics.length === 0) return html`<p>Nothing is evaluated yet.</p>`
  const heads = runs.length > 1
  const body = ({ label, rows, ...rest }: RunData) =>
    html`<tbody>${heads ? html`<tr><th scope="rowgroup" colspan="${metrics.length + 4}" class="run">${label}</th></tr>` : ""}${lastRows(
      rows
    ).map((row) => scoreRow({ label, rows, ...rest }, row, metrics))}</tbody>`
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Scores"><table class="scores"><caption>Target test set, %, after the last epoch: the mean of the two networks (the mean teachers where there are any).</caption>
<thead><tr><th scope="col">method</th><th scope="col">epoch</th>${metrics.map((name) => html`<th scope="col">${name}</th>`)}<th scope="col">mAP of network 1 / 2</th><th scope="col" class="quiet">best network by mAP, selected on test labels: no result</th></tr></thead>
${runs.map(body)}</table></div>`
}

/** The same scores of every evaluated epoch, for figures. */
export const scoreCsv = (runs: ReadonlyArray<RunData>): string => {
  const metrics = metricsOf(runs)
  const head = ["run", "method", "epoch", "network", ...metrics]
  const cells = (scores: Readonly<Record<string, number>>) => metrics.map((name) => scores[name] ?? "")
  const lines = runs.flatMap(({ label, rows }) =>
    rows.flatMap(({ epoch, mean, name, networks, tasks }) => [
      [label, name, epoch, "mean", ...cells(mean)],
      ...networks.map((scores, i) => [label, name, epoch, tasks[i]!.split("/").at(-1)!, ...cells(scores)])
    ])
  )
  return csvLines([head, ...lines])
}

const signed = (value: number) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}`

/** The result in one line a method: the last epoch of each, and what adaptation changed. */
export const headline = (run: RunData): Html => {
  const rows = lastRows(run.rows)
  const before = rows.find(({ name }) => name === "source-only")
  const tile = ({ epoch, mean, name }: ScoredRow) => {
    const change = before && name !== "source-only" ? mean.mAP! - before.mean.mAP! : undefined
    return html`<li class="${name === mainAdaptation ? "main" : "other"}"><span class="name">${name}${epoch > 0 ? `, epoch ${epoch}` : ""}</span>
<span class="value">${shown(mean.mAP)}</span> <span class="unit">mAP</span>
<span class="rest">top-1 ${shown(mean["top-1"])}${change === undefined ? "" : `; mAP ${signed(change)} against source-only`}</span></li>`
  }
  return html`<ul class="headline">${rows.toReversed().map(tile)}</ul>`
}

const stageRow = (group: StageGroup, total: number) =>
  html`<tr><th scope="row">${group.phase}</th><td class="text">${group.stages.join(" → ")}${
    group.feeds.length > 0 ? `, for ${group.feeds.join(" and ")}` : ""
  }</td><td>${group.done} of ${group.tasks}</td><td>${timeText(group.seconds)}</td><td>${
    total > 0 ? `${((100 * group.seconds) / total).toFixed(1)} %` : "–"
  }</td></tr>`

/** The graph of the stages and the table behind it. */
export const stagesFigure = (id: string, run: RunData): Html => {
  const groups = stageGroups(run)
  const total = groups.reduce((sum, { seconds }) => sum + seconds, 0)
  return html`<figure class="stages" id="${id}"><figcaption>Tasks of one kind in one box, with how many of them there are and the time that they took together: ${timeText(total)} in all.</figcaption>
<div class="scroll plot" tabindex="0" role="region" aria-label="Stages">${new Html(stageGraphSvg(id, groups))}</div>
<details><summary>Table</summary><div class="scroll" tabindex="0" role="region" aria-label="Times of the stages"><table><caption class="unseen">Stages and their times</caption><thead><tr><th scope="col">phase</th><th scope="col">stages</th><th scope="col">tasks done</th><th scope="col">time</th><th scope="col">share</th></tr></thead><tbody>${groups.map((group) => stageRow(group, total))}</tbody></table></div></details></figure>`
}

/** Leaves of nested settings by dotted key. */
const flat = (value: unknown, key = ""): ReadonlyArray<readonly [string, string]> =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.entries(value).flatMap(([name, inner]) => flat(inner, key === "" ? name : `${key}.${name}`))
    : [[key, JSON.stringify(value)]]

/** The settings in which the runs differ; nothing for a single run. */
export const differencesTable = (runs: ReadonlyArray<RunData>): Html => {
  if (runs.length < 2) return html``
  const settings = runs.map(({ config }) => {
    const { folder: _folder, given: _given, variants, ...rest } = config
    return new Map(flat({ ...rest, variants: Object.fromEntries(variants) }))
  })
  const keys = [...new Set(settings.flatMap((own) => [...own.keys()]))]
  const differing = keys.filter((key) => new Set(settings.map((own) => own.get(key))).size > 1)
  return html`<h3>What differs</h3><div class="scroll" tabindex="0" role="region" aria-label="Settings that differ"><table class="differences"><caption class="unseen">Settings that differ between the runs</caption><thead><tr><th scope="col">key</th>${runs.map(({ label }) => html`<th scope="col">${label}</th>`)}</tr></thead><tbody>${differing.map(
    (key) => html`<tr><th scope="row">${key}</th>${settings.map((own) => html`<td>${own.get(key) ?? "–"}</td>`)}</tr>`
  )}</tbody></table></div>`
}

/** The run file as the run keeps it, and what it was made with. */
export const runFileFigure = (run: RunData): Html => {
  const records = [...run.records.values()]
  const engines = [...new Set(records.map(({ engine }) => engine))]
  const last = records
    .map(({ finished }) => finished)
    .sort()
    .at(-1)
  return html`<p>${engines.join("; ")}${last ? `; last task done ${last.slice(0, 16).replace("T", " ")} UTC` : ""}. Whatever the file does not give is as in the paper.</p>
<pre class="scroll" tabindex="0"><code>${run.runFile}</code></pre>`
}
