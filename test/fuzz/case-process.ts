/** Runs cases that its parent asks for, one at a time, and says how each came out. Its parent ends it where it hangs. */

import { createHash } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Cause, Effect, Exit, Option, Schema } from "effect"
import { fileProblem } from "#pipeline/manifest.ts"
import { allSubjects, type Case, caseOf } from "./cases.ts"
import { loadedSession } from "./loaded-session.ts"
import type { Content, Example, Subject } from "./subject.ts"

/** `refused` by a typed error; `same` content; `other` content of a whole file; `wrong` in the way that is said. */
export interface Outcome {
  readonly result: "refused" | "same" | "other" | "wrong"
  readonly subject: string
  readonly said: string
  readonly edits: number
}

const folder = mkdtempSync(join(tmpdir(), "mmt-fuzz-"))
process.on("exit", () => rmSync(folder, { recursive: true, force: true }))
process.on("disconnect", () => process.exit())

const session = await loadedSession()
const subjects = await allSubjects()
const wholeContents = new Map<Example, Content>()

const readOf = (subject: Subject, example: Example, bytes: Buffer, file: string) => {
  writeFileSync(file, bytes)
  return Effect.runPromiseExit(Effect.scoped(subject.read(file, example)).pipe(Effect.provide(session)))
}

const readWhole = async (subject: Subject, example: Example): Promise<void> => {
  const exit = await readOf(subject, example, example.bytes, join(folder, `whole${subject.ending}`))
  if (Exit.isFailure(exit) && !example.isRefused)
    throw new Error(`${subject.name}, ${example.name} is not read: ${Cause.pretty(exit.cause)}`)
  if (Exit.isSuccess(exit)) wholeContents.set(example, exit.value)
}

const texts = Schema.Struct({ _tag: Schema.String, message: Schema.String })

/** What is not as it should be with an error: it must be one of the project's, and name the file. */
const errorProblem = (error: unknown, file: string): string | undefined => {
  if (!Schema.is(texts)(error)) return `an error without a type: ${String(error)}`
  if (!error.message.includes(file)) return `an error that does not name the file: ${error.message}`
  return error.message.includes("\n    at ") ? `a stack trace: ${error.message}` : undefined
}

/** A file that its reader takes for another whole one is told by the manifest, whose checksum is of all bytes. */
const recordedProblem = async ({ example, subject }: Case, path: string) =>
  fileProblem(folder, {
    path,
    rows: 0,
    bytes: example.bytes.length,
    sha256: createHash("sha256").update(example.bytes).digest("hex"),
    modified: 0
  }).then((problem) => (problem ? undefined : `the manifest does not notice that this ${subject.name} is another`))

const run = async (one: Case): Promise<Omit<Outcome, "subject" | "edits">> => {
  const { subject, example, bytes, edits } = one
  const name = `case${subject.ending}`
  const file = join(folder, name)
  const exit = await readOf(subject, example, bytes, file)
  if (Exit.isFailure(exit)) {
    const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
    const problem = error === undefined ? `it fails: ${Cause.pretty(exit.cause)}` : errorProblem(error, file)
    return problem ? { result: "wrong", said: problem } : { result: "refused", said: (error as Error).message }
  }
  if (edits.length === 0) return { result: "other", said: "" }
  const whole = wholeContents.get(example)
  if (whole !== undefined && whole.shape === exit.value.shape && whole.values === exit.value.values)
    return { result: "same", said: "" }
  const mayDiffer =
    subject.unnoticed === "anything" || (subject.unnoticed === "values" && whole?.shape === exit.value.shape)
  if (!mayDiffer) return { result: "wrong", said: "it is read as a whole file of another content" }
  const unnoticed = await recordedProblem(one, name)
  return unnoticed ? { result: "wrong", said: unnoticed } : { result: "other", said: "" }
}

// What is loaded when it is first used is not to count as the time of a case.
for (const subject of new Set(subjects)) for (const example of subject.examples) await readWhole(subject, example)

process.on("message", async ({ seed, index, without }: { seed: number; index: number; without: Array<number> }) => {
  const one = caseOf(subjects, seed, index, without)
  const outcome = await run(one)
  process.send!({ ...outcome, subject: one.subject.name, edits: one.edits.length } satisfies Outcome)
})
process.send!("ready")
