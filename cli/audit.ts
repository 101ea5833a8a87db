/** `mmt audit`: whether what a run's folder holds is what a run of its settings must have made. */
import { Console, Effect, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { auditRun, type Checked } from "#audit/audit.ts"
import { type Tell, violationPlace } from "#audit/check.ts"
import { keepAudit, manifestDigest } from "#audit/kept-audit.ts"
import { type OpenRun, openRun } from "#audit/open-run.ts"
import { count, progressLine } from "#cli/progress.ts"
import { planTasks } from "#pipeline/plan.ts"

/** The run is not as it must be. */
export class AuditFailed extends Schema.TaggedError<AuditFailed>()("AuditFailed", {
  folder: Schema.String,
  violations: Schema.Int
}) {
  override get message() {
    return `${this.folder}: ${count(this.violations)} violations`
  }
}

const lines = ({ name, about, unit, checked, note, violationCount, violations }: Checked) => {
  const head = `${violationCount === 0 ? "ok   " : "FAIL "} ${name.padEnd(20)}  ${count(checked)} ${unit}`
  if (violationCount === 0) return [`${head}: ${about}${note ? ` (${note})` : ""}`]
  const more = violationCount - violations.length
  return [
    `${head}, ${count(violationCount)} violations of: ${about}`,
    ...violations.map((violation) => `      ${violationPlace(violation)}: ${violation.problem}`),
    ...(more > 0 ? [`      … and ${count(more)} more`] : [])
  ]
}

/** A progress line for each check, which is gone before its outcome is printed. */
export const auditProgress = () => {
  let line: ReturnType<typeof progressLine> | undefined
  return {
    tell: (check: string) => (done: number, total: number) => {
      line ??= progressLine(check, total)
      line.update(done)
    },
    next: () => {
      if (process.stderr.isTTY) process.stderr.write("\r\x1b[K")
      line = undefined
    }
  }
}

/** Audits a run and keeps the outcome in its folder; one that cannot be kept, as where nobody may write, is said and no failure. */
export const keptAudit = Effect.fn("keptAudit")(function* (
  run: OpenRun,
  tell: (check: string) => Tell,
  done: (checked: Checked) => void
) {
  const manifest = yield* manifestDigest(run.folder)
  const outcomes = yield* auditRun(run, tell, done)
  yield* keepAudit(run.folder, manifest, outcomes).pipe(
    Effect.catch(({ message }) => Console.error(`the outcome is not kept for the report: ${message}`))
  )
  return outcomes
})

export const runArgument = Argument.String("RUN").pipe(Argument.withDescription("A run's folder"))

export const jsonFlag = Flag.Boolean("json").pipe(
  Flag.withDescription("Print JSON, for programs"),
  Flag.withDefault(false)
)

export const audit = Command.make(
  "audit",
  { run: runArgument, json: jsonFlag },
  Effect.fn("mmt audit")(function* ({ run: folder, json }) {
    const run = yield* openRun(folder)
    const { tell, next } = auditProgress()
    const outcomes = yield* keptAudit(run, tell, (checked) => {
      next()
      if (!json) process.stdout.write(`${lines(checked).join("\n")}\n`)
    })
    const violations = outcomes.reduce((sum, { violationCount }) => sum + violationCount, 0)
    const missing = planTasks(run.config).filter(({ id }) => !run.tasks.has(id)).length
    const passed = outcomes.filter(({ violationCount }) => violationCount === 0).length
    const undone = missing > 0 ? `, ${count(missing)} tasks of its run.yaml are not done yet` : ""
    const summary = `${folder}: ${passed} of ${outcomes.length} checks passed, ${count(violations)} violations; ${count(run.files.length)} files of ${count(run.tasks.size)} tasks${undone}`
    if (json)
      yield* Console.log(
        JSON.stringify({ run: folder, passed: violations === 0, undone: missing, checks: outcomes }, null, 2)
      )
    else yield* Console.log(`\n${summary}`)
    if (violations > 0) return yield* new AuditFailed({ folder, violations })
  })
).pipe(
  Command.withShortDescription("Check everything that a run holds"),
  Command.withDescription(
    "Reads every byte of a run and checks it: checksums, columns and rows, where each input came from, embeddings, pseudo labels, batches, losses, mean teachers, rankings and metrics. Names the file, row and column of what is wrong, and ends with 1 then. The outcome is kept as audit.json in the run's folder, and `mmt report` shows it."
  ),
  Command.withExamples([
    { command: "mmt audit runs/quickstart", description: "One line a check" },
    { command: "mmt audit runs/quickstart --json", description: "For programs" }
  ])
)
