/** What a check of a run is: what it looks at, and what it found against it, each by file, row and column. */
import { Effect } from "effect"
import { type OpenRun, stepOf } from "#audit/open-run.ts"
import type { TaskRecord } from "#pipeline/manifest.ts"
import { type ArtifactError, ColumnError } from "#schemas/artifact.ts"

export interface Violation {
  /** Relative to the run's folder. */
  readonly file: string
  /** Counted from 0. */
  readonly row?: number
  readonly column?: string
  readonly problem: string
}

/** Where a violation is: `FILE, row 3, column "rank"`. */
export const violationPlace = ({ file, row, column }: Violation): string =>
  [file, ...(row === undefined ? [] : [`row ${row}`]), ...(column === undefined ? [] : [`column "${column}"`])].join(
    ", "
  )

/** What a check writes down. */
export class Findings {
  /** How many things it has looked at. */
  checked = 0
  /** What is to be known of a check that passes. */
  note: string | undefined
  /** Of very many violations the first ones. */
  readonly violations: Array<Violation> = []
  violationCount = 0
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  add(violation: Violation): void {
    this.violationCount++
    if (this.violations.length < kept) this.violations.push(violation)
  }

  /** A file that could not be read as the artifact that it is recorded as. */
  unreadable(file: string, error: ArtifactError): void {
    const own = [`${this.#folder}/${file}`, error.source].map((source) => `${source}: `)
    const problem = own.reduce((text, prefix) => text.replace(prefix, ""), error.message)
    this.add({ file, ...(error instanceof ColumnError ? { column: error.column } : {}), problem })
  }
}

const kept = 20

/** Called as a check goes on. */
export type Tell = (done: number, total: number) => void

export interface Check {
  readonly name: string
  /** What is true of the run where it passes. */
  readonly about: string
  /** What it counts. */
  readonly unit: string
  readonly run: (run: OpenRun, findings: Findings, tell: Tell) => Effect.Effect<void>
}

/** Runs over the tasks that have a stage, each with what was recorded of it; an unreadable file is a finding. */
export const overTasks = <E extends ArtifactError>(
  run: OpenRun,
  stage: string,
  findings: Findings,
  tell: (done: number, total: number) => void,
  look: (task: string, record: TaskRecord, step: TaskRecord["steps"][number]) => Effect.Effect<void, E>
) => {
  const tasks = [...run.tasks].flatMap(([task, record]) => {
    const step = stepOf(record, stage)
    return step ? [{ task, record, step }] : []
  })
  return Effect.forEach(
    tasks.entries(),
    ([index, { task, record, step }]) =>
      look(task, record, step).pipe(
        Effect.catch((error) =>
          Effect.sync(() => findings.unreadable(error.source.replace(`${run.folder}/`, ""), error))
        ),
        Effect.tap(() => Effect.sync(() => tell(index + 1, tasks.length)))
      ),
    { discard: true }
  )
}
