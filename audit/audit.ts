/** The audit of a run: every check, one after the other. */
import { Effect } from "effect"
import { trainingBatches } from "#audit/batches-check.ts"
import { type Check, Findings, type Tell, type Violation } from "#audit/check.ts"
import { embeddingNorms, labels } from "#audit/embeddings-check.ts"
import { checksums, columns, lineage } from "#audit/files-check.ts"
import { losses } from "#audit/losses-check.ts"
import type { OpenRun } from "#audit/open-run.ts"
import { rankings } from "#audit/rankings-check.ts"
import { teachers } from "#audit/teachers-check.ts"

const checks: ReadonlyArray<Check> = [
  checksums,
  columns,
  lineage,
  embeddingNorms,
  labels,
  trainingBatches,
  losses,
  teachers,
  rankings
]

/** The outcome of one check. */
export interface Checked {
  readonly name: string
  readonly about: string
  readonly unit: string
  readonly checked: number
  readonly note?: string
  readonly violationCount: number
  /** The first of them. */
  readonly violations: ReadonlyArray<Violation>
}

const outcome = ({ name, about, unit }: Check, findings: Findings): Checked => ({
  name,
  about,
  unit,
  checked: findings.checked,
  ...(findings.note === undefined ? {} : { note: findings.note }),
  violationCount: findings.violationCount,
  violations: findings.violations
})

/** Runs every check on a run; `tell` hears how far each is, `done` what each found. */
export const auditRun = (run: OpenRun, tell: (check: string) => Tell, done: (checked: Checked) => void) =>
  Effect.forEach(checks, (check) =>
    Effect.gen(function* () {
      const findings = new Findings(run.folder)
      yield* check.run(run, findings, tell(check.name))
      const checked = outcome(check, findings)
      done(checked)
      return checked
    })
  )
