/**
 * `npm run test:fuzz -- --cases 5000 [--seed N] [--only INDEX] [--limit SECONDS]`: damaged and drawn files of every format, each
 * read by the project's own readers in a process that can be ended.
 *
 * A case is right when the file is refused by a typed error that names it, or read with the content of the whole file it
 * comes from. Where a format has no checksum, a damaged value, text or pixel makes another whole file, which no reader can
 * tell; such cases are counted, and each must be told by the sha256 of a run's manifest. An Arrow file must then still have the
 * rows and columns that it had. A zip `.pth` has checksums all over, so nothing of it may be read otherwise.
 * A crash, a hang, an error without a type, and anything else is a failure: the file is kept, with as few of its edits as fail.
 */
import { type ChildProcess, fork } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import type { Outcome } from "./case-process.ts"
import { allSubjects, caseOf } from "./cases.ts"

const { values: flags } = parseArgs({
  options: {
    cases: { type: "string", default: "300" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    only: { type: "string" },
    limit: { type: "string", default: "2" }
  }
})
const wholeNumber = (name: "cases" | "seed" | "only" | "limit") => {
  const value = Number(flags[name])
  if (Number.isSafeInteger(value) && value >= 0) return value
  console.error(`--${name} expects a whole number, found ${flags[name]}`)
  process.exit(2)
}
const [cases, seed, limit] = [wholeNumber("cases"), wholeNumber("seed"), wholeNumber("limit")]
const only = flags.only === undefined ? undefined : wholeNumber("only")
const processes = 2

/** A process that runs cases; it is started anew after a crash or a hang. */
class Runner {
  #child: ChildProcess | undefined
  #errors = ""

  async #started(): Promise<ChildProcess> {
    if (this.#child) return this.#child
    const child = fork(fileURLToPath(new URL("case-process.ts", import.meta.url)), {
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: "3" }
    })
    this.#errors = ""
    child.stderr!.on("data", (text) => {
      this.#errors = (this.#errors + text).slice(-2000)
    })
    await new Promise<void>((resolve, reject) => {
      child.once("message", () => resolve())
      child.once("exit", () => reject(new Error(`the process of the cases does not start:\n${this.#errors}`)))
    })
    child.removeAllListeners("exit")
    this.#child = child
    return child
  }

  async run(index: number, without: ReadonlyArray<number> = []): Promise<Outcome> {
    const child = await this.#started()
    const outcome = await new Promise<Outcome | string>((resolve) => {
      const timer = setTimeout(() => resolve(`it hangs: nothing after ${limit} s`), limit * 1000)
      child.once("message", (one) => {
        clearTimeout(timer)
        resolve(one as Outcome)
      })
      child.once("exit", (code, signal) => {
        clearTimeout(timer)
        resolve(`it ends the process: ${signal ?? code}\n${this.#errors}`)
      })
      child.send({ seed, index, without })
    })
    child.removeAllListeners("message").removeAllListeners("exit")
    if (typeof outcome !== "string") return outcome
    child.kill("SIGKILL")
    this.#child = undefined
    const { subject, edits } = caseOf(subjects, seed, index)
    return { result: "wrong", said: outcome, subject: subject.name, edits: edits.length }
  }

  stop() {
    this.#child?.disconnect()
  }
}

const subjects = await allSubjects()
const outcomes: Array<Outcome> = []
const failures: Array<string> = []

/** Leaves out what edits it can, and keeps the file. */
const keep = async (runner: Runner, index: number, { edits, said, subject }: Outcome) => {
  const without: Array<number> = []
  for (let edit = 0; edit < edits && without.length < edits - 1; edit++)
    if ((await runner.run(index, [...without, edit])).result === "wrong") without.push(edit)
  const { bytes, example } = caseOf(subjects, seed, index, without)
  const folder = join(tmpdir(), "mmt-fuzz-failures")
  mkdirSync(folder, { recursive: true })
  const file = join(folder, `seed-${seed}-case-${index}${subjects[index % subjects.length]!.ending}`)
  writeFileSync(file, bytes)
  failures.push(
    `${subject}, from ${example.name}: ${said}\n  file: ${file}\n  again: npm run test:fuzz -- --seed ${seed} --only ${index}`
  )
}

console.log(`test:fuzz: seed ${seed}, ${only === undefined ? `${cases} cases` : `case ${only}`}`)
const began = performance.now()
let next = only ?? 0
const end = only === undefined ? cases : only + 1
const work = async () => {
  const runner = new Runner()
  while (next < end) {
    const index = next++
    const outcome = await runner.run(index)
    outcomes.push(outcome)
    if (outcome.result === "wrong") await keep(runner, index, outcome)
    if (only !== undefined) console.log(`${outcome.subject}: ${outcome.result}${outcome.said && `: ${outcome.said}`}`)
  }
  runner.stop()
}
await Promise.all(Array.from({ length: Math.min(processes, end - next) }, work))

const count = (some: ReadonlyArray<Outcome>, result: Outcome["result"]) =>
  some.filter((one) => one.result === result).length
for (const [name, some] of Map.groupBy(outcomes, ({ subject }) => subject)) {
  const [refused, same, other, wrong] = (["refused", "same", "other", "wrong"] as const).map((one) => count(some, one))
  console.log(
    `  ${name.padEnd(24)} ${some.length} cases: ${refused} refused, ${same} the same, ${other} other whole files, ${wrong} wrong`
  )
}
console.log(
  `${outcomes.length} cases in ${((performance.now() - began) / 1000).toFixed(1)} s, ${failures.length} failures`
)
for (const failure of failures) console.log(`\n${failure}`)
process.exitCode = failures.length > 0 ? 1 : 0
