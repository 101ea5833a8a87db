/** The list of runs: what each is doing, and its scores. */
import { stat } from "node:fs/promises"
import { Effect } from "effect"
import { manifestFile } from "#pipeline/manifest.ts"
import { lastRows, runFileOf, type ScoredRow, scoreRun } from "#pipeline/score.ts"
import { type Html, html } from "#report/html.ts"
import type { Part } from "#serve/parts.ts"
import { checkOwnFiles, type RunFolder, runFolders } from "#serve/run-folders.ts"
import { type RunStatus, runStatus } from "#serve/run-status.ts"
import { placeText, stateHtml, timeText } from "#serve/status-html.ts"

interface Listed {
  readonly run: RunFolder
  readonly status: RunStatus
  /** After the last evaluated epoch of each method. */
  readonly scores: ReadonlyArray<ScoredRow>
  /** Why the run cannot be read. */
  readonly problem: string | undefined
}

export const runPath = (id: string) => `/runs/${encodeURIComponent(id)}`

const scoreText = ({ epoch, mean, name }: ScoredRow) =>
  html`<li>${name}${epoch > 0 ? `, epoch ${epoch}` : ""} <b>${mean.mAP?.toFixed(1)}</b> / ${mean["top-1"]?.toFixed(1)}</li>`

const row = ({ problem, run, scores, status }: Listed) =>
  html`<tr><th scope="row"><a href="${runPath(run.id)}">${run.id}</a></th><td class="text">${stateHtml(status)}</td><td class="text">${
    problem ?? status.problem ?? placeText(status)
  }</td><td class="text"><ul class="scores-list">${scores.map(scoreText)}</ul></td><td class="text">${timeText(status.last)}</td></tr>`

/** The table of the runs, by the id `runs`. */
export const listHtml = (listed: ReadonlyArray<Listed>): Html =>
  listed.length === 0
    ? html`<div id="runs"><p>No run is here yet: a folder with a run.yaml. A new one shows by itself.</p></div>`
    : html`<div id="runs" class="scroll" tabindex="0" role="region" aria-label="Runs"><table class="runs"><caption class="unseen">Runs</caption><thead><tr><th scope="col">run</th><th scope="col" class="text">state</th><th scope="col" class="text">where it is</th><th scope="col" class="text">mAP / top-1, %</th><th scope="col" class="text">last heard of</th></tr></thead><tbody>${listed.map(row)}</tbody></table></div>`

/** Reads the runs of a folder again and again; the scores of one where its manifest is another than before. */
export const runListWatcher = (root: string): Effect.Effect<ReadonlyArray<Part>> => {
  const known = new Map<string, { readonly edition: string; readonly scores: ReadonlyArray<ScoredRow> }>()

  const scoresOf = Effect.fnUntraced(function* ({ folder }: RunFolder) {
    const found = yield* Effect.promise(() => stat(manifestFile(folder)).catch(() => undefined))
    const edition = `${found?.mtimeMs}-${found?.size}`
    const before = known.get(folder)
    if (before?.edition === edition) return before.scores
    const config = yield* runFileOf(folder)
    const rows = yield* scoreRun(config, folder).pipe(Effect.catchTag("NoScores", () => Effect.succeed([])))
    const scores = lastRows(rows)
    known.set(folder, { edition, scores })
    return scores
  })

  const look = (run: RunFolder) =>
    Effect.gen(function* () {
      yield* checkOwnFiles(run.folder)
      const status = yield* runStatus(run.folder)
      const read = yield* Effect.result(scoresOf(run))
      return read._tag === "Success"
        ? { run, status, scores: read.success, problem: undefined }
        : { run, status, scores: [], problem: read.failure.message }
    }).pipe(
      Effect.catch(({ message }) => {
        const status = { state: "not started", progress: undefined, last: undefined, problem: undefined } as const
        return Effect.succeed({ run, status, scores: [], problem: message } satisfies Listed)
      })
    )

  return runFolders(root).pipe(
    Effect.flatMap((runs) => Effect.forEach(runs, look)),
    Effect.map((listed): ReadonlyArray<Part> => [{ id: "runs", html: listHtml(listed) }]),
    Effect.catch(({ message }) =>
      Effect.succeed([{ id: "runs", html: html`<div id="runs"><p class="wrong">${message}</p></div>` }])
    )
  )
}
