/** Drawn runs in a folder that is removed afterwards, their pages as a browser has them, and their artifacts as tables. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { tableFromIPC } from "apache-arrow"
import { Effect } from "effect"
import { parseHTML } from "linkedom"
import { afterAll } from "vitest"
import { page } from "#report/page.ts"
import { readPageData } from "#report/read-page-data.ts"
import { distinctlyLabelled, readRun } from "#report/run-data.ts"
import { drawRun } from "../drawn-run/drawn-run.ts"
import type { DrawnSizes } from "../drawn-run/images.ts"

export const sizes: DrawnSizes = {
  ...{ source: 24, train: 90, query: 40, gallery: 90 },
  ...{ identities: 9, cameras: 3, dimension: 8 }
}

const data = `
seed: 5
data:
  source: { root: pair/source }
  target: { root: pair/target }
  height: 16
  width: 8
pretrain: { epochs: 2, iterations: 3, identities: 4, instances: 2, milestones: [1] }
`
const target = "seed: 5\ndata: { target: { root: pair/target }, height: 16, width: 8 }\n"

const adapt = "adapt: { epochs: 3, iterations: 5, classes: 5, identities: 4, instances: 2 }\n"

/** Run files of every kind of run that a report is written of. */
export const runFiles = {
  whole: `${data}${adapt}variants: { hard: { softIdentity: 0, softTriplet: 0, meanTeachers: false, algorithm: dbscan } }\n`,
  reranked: `${data}${adapt}evaluate: { rerank: true }\n`,
  unsupervised: `${target}${adapt}`,
  unlabelled: `${target.replace("target: {", "target: { format: folder,")}${adapt}`
} as const

/** The home of a test file's runs. */
export const drawnRuns = () => {
  const home = mkdtempSync(join(tmpdir(), "mmt-report-"))
  afterAll(() => rmSync(home, { recursive: true, force: true }))
  return {
    home,
    draw: async (
      name: string,
      kind: keyof typeof runFiles,
      more: {
        readonly label?: string
        readonly names?: ReadonlyArray<string>
        readonly until?: (task: string) => boolean
      } = {}
    ) => {
      const folder = join(home, name)
      const text = `name: ${JSON.stringify(more.label ?? name)}\n${runFiles[kind]}`
      await Effect.runPromise(drawRun(folder, text, more.names ? { ...sizes, names: more.names } : sizes, more.until))
      return folder
    }
  }
}

/** All that the pages of these runs are made of. */
export const pageDataOf = (...folders: ReadonlyArray<string>) =>
  Effect.runPromise(
    Effect.gen(function* () {
      return yield* Effect.forEach(distinctlyLabelled(yield* Effect.forEach(folders, readRun)), readPageData)
    })
  )

/** A piece of a page in an element. */
export const parsedHtml = (text: string) =>
  parseHTML(`<!doctype html><html><body>${text}</body></html>`).document.body as unknown as Element

/** A page as text and as a document. */
export const parsedPage = (data: Parameters<typeof page>[0]) => {
  const text = page(data)
  return { text, document: parseHTML(text).document }
}

export const pageOf = async (...folders: ReadonlyArray<string>) => parsedPage(await pageDataOf(...folders))

/** The rows of a table of the page, its head first, as text. */
export const cellsOf = (element: Element | null): ReadonlyArray<ReadonlyArray<string>> =>
  [...(element?.querySelectorAll("tr") ?? [])].map((row) =>
    [...row.querySelectorAll("th, td")].map(({ textContent }) => textContent ?? "")
  )

/** An Arrow file's rows, read without the project's readers. */
export const rowsOf = (...path: ReadonlyArray<string>): ReadonlyArray<Record<string, unknown>> =>
  tableFromIPC(readFileSync(join(...path)))
    .toArray()
    .map((row: { toJSON: () => Record<string, unknown> }) => row.toJSON())
