/** What a run is doing, as HTML. */

import type { Progress } from "#pipeline/progress-file.ts"
import { termNames } from "#report/charts.ts"
import { type Html, html } from "#report/html.ts"
import { termOf } from "#report/losses.ts"
import type { RunStatus } from "#serve/run-status.ts"

const count = (value: number) => Math.round(value).toLocaleString("en-US")

const duration = (seconds: number) => {
  const whole = Math.round(seconds)
  if (whole < 60) return `${whole} s`
  return whole < 3600
    ? `${Math.floor(whole / 60)} min`
    : `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`
}

/** A time as it stands in a table: the date and the minute, UTC. */
export const timeText = (iso: string | undefined) =>
  iso === undefined ? "–" : `${iso.slice(0, 16).replace("T", " ")} UTC`

/** Parts of the task a second: by the last step where the task trains, else over the task so far. */
const rateOf = ({ step, done, taskStarted, written }: Progress) =>
  step
    ? 1000 / ((step.stepMillis ?? 0) + (step.waitMillis ?? 0))
    : done / Math.max(1e-3, (written - taskStarted) / 1000)

/** Loss terms, each the mean of the networks that report it. */
const lossTerms = (losses: Readonly<Record<string, number | null>>) =>
  [...Map.groupBy(Object.entries(losses), ([column]) => termOf(column))].map(([term, columns]) => {
    const sum = columns.reduce((total, [, value]) => total + (value ?? Number.NaN), 0)
    return [termNames[term] ?? term, sum / columns.length] as const
  })

const figureOf = (name: string, value: string) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`

const stepFigures = ({ step }: Progress) =>
  step === undefined
    ? []
    : [
        ...lossTerms(step.losses).map(([term, value]) =>
          figureOf(term === "total" ? "total loss" : term, Number.isFinite(value) ? value.toFixed(4) : "no number")
        ),
        figureOf(
          "learning rate",
          step.learningRate === null ? "no number" : String(Number(step.learningRate.toPrecision(4)))
        ),
        figureOf("a step", `${Math.round(step.stepMillis ?? 0)} ms, waited ${Math.round(step.waitMillis ?? 0)} ms`)
      ]

const progressHtml = (progress: Progress) => {
  const { done, total, task, tasks } = progress
  const rate = rateOf(progress)
  const parts = progress.step ? "iteration" : "done"
  return html`<p><b>${task === "" ? "starting" : task}</b> <span class="quiet">task ${count(Math.min(tasks.done + 1, tasks.total))} of ${count(tasks.total)}</span></p>
<progress aria-label="Part of the task that is done" max="${Math.max(total, done, 1)}" value="${done}"></progress>
<dl class="now">${figureOf(parts, total > 0 ? `${count(done)} of ${count(total)}` : count(done))}${
    done > 0 && Number.isFinite(rate)
      ? [
          figureOf("rate", `${rate < 10 ? rate.toFixed(1) : count(rate)}/s`),
          figureOf("left of the task", total > done ? duration((total - done) / rate) : "–")
        ]
      : []
  }${stepFigures(progress)}</dl>`
}

/** A run's state as a word in its colour. */
export const stateHtml = ({ state }: RunStatus): Html => html`<b class="state ${state.replace(" ", "-")}">${state}</b>`

/** The block at the top of a run's page, by the id `now`. */
export const nowHtml = (status: RunStatus): Html => {
  const { last, problem, progress } = status
  const said = {
    running: html``,
    done: html` ${timeText(last)}`,
    failed: html` ${timeText(last)}: ${problem}`,
    interrupted: html` last seen ${timeText(last)}; the same mmt run goes on from there`,
    "not started": html``
  }[status.state]
  return html`<div id="now" class="now-block"><p>${stateHtml(status)}${said}</p>${progress ? progressHtml(progress) : ""}</div>`
}

/** Where a run is, in a line. */
export const placeText = ({ progress }: RunStatus): string => {
  if (progress === undefined) return ""
  const { done, task, tasks, total } = progress
  const part = total > 0 ? `, ${count(done)} of ${count(total)}` : ""
  return `${task}${part}; task ${count(Math.min(tasks.done + 1, tasks.total))} of ${count(tasks.total)}`
}
