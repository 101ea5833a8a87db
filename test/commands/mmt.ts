/** `mmt` as a user runs it, in a process of its own; and what the tests of whole commands run it on. */
import { type ChildProcess, spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import type { SyntheticSizes } from "#data/synthetic/plan.ts"
import { writeSynthetic } from "#data/synthetic/write.ts"

export const repository = fileURLToPath(new URL("../..", import.meta.url))

export interface Ended {
  /** The exit code; null where a signal ended the process. */
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** Starts a program in a folder; `ended` resolves when it has. */
export const start = (program: string, args: ReadonlyArray<string>, cwd: string) => {
  // Node keeps what it compiled, which halves the start of the many processes here.
  const env = { ...process.env, NODE_COMPILE_CACHE: join(tmpdir(), "mmt-test-compile-cache") }
  const child = spawn(program, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] })
  const texts = { out: "", err: "" }
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    texts.out += text
  })
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    texts.err += text
  })
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on("error", reject)
    child.on("close", (code) => resolve({ code, ...texts }))
  })
  return { child: child as ChildProcess, ended }
}

/** Starts `mmt` with these arguments in a folder. */
export const startMmt = (cwd: string, ...args: ReadonlyArray<string>) =>
  start(process.execPath, [join(repository, "cli/mmt.ts"), ...args], cwd)

/** Runs `mmt` to its end. */
export const mmt = (cwd: string, ...args: ReadonlyArray<string>): Promise<Ended> => startMmt(cwd, ...args).ended

const sizes: SyntheticSizes = {
  source: { cameras: 3, trainIdentities: 6, trainImages: 2, testIdentities: 1, testImages: 2 },
  target: { cameras: 3, trainIdentities: 6, trainImages: 2, testIdentities: 3, testImages: 2 }
}

/** Draws a small pair of camera networks to `pair/` below a folder. */
export const drawPair = (folder: string) =>
  Effect.runPromise(writeSynthetic({ folder: join(folder, "pair"), seed: 3, sizes }))

/** The smallest run with everything in it; further lines may follow. */
export const tinyRun = `name: tiny
seed: 5
data:
  source: { root: pair/source }
  target: { root: pair/target }
  height: 64
  width: 32
pretrain: { epochs: 2, iterations: 3, identities: 4, instances: 2, pad: 3, milestones: [1] }
adapt: { epochs: 2, iterations: 3, classes: 5, identities: 2, instances: 2, pad: 3 }
`

export const baseline = "variants: { baseline: { epochs: 1, softIdentity: 0, softTriplet: 0, meanTeachers: false } }\n"

export const writeRunFile = (folder: string, text: string, name = "tiny.yaml") =>
  writeFileSync(join(folder, name), text)

/** Paths of all files below a folder, sorted; none where there is no such folder. */
export const filesBelow = (folder: string): ReadonlyArray<string> =>
  existsSync(folder)
    ? readdirSync(folder, { recursive: true, encoding: "utf8" })
        .filter((path) => statSync(join(folder, path)).isFile())
        .sort()
    : []

const isArrow = (path: string) => path.endsWith(".arrow")

/** The sha256 of every Arrow file below a folder, by path. */
export const digests = (folder: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    filesBelow(folder)
      .filter(isArrow)
      .map((path) => [path, sha256(join(folder, path))])
  )

export const sha256 = (file: string) => createHash("sha256").update(readFileSync(file)).digest("hex")

/** When each Arrow file below a folder was changed last, by path. */
export const changeTimes = (folder: string): Readonly<Record<string, number>> =>
  Object.fromEntries(
    filesBelow(folder)
      .filter(isArrow)
      .map((path) => [path, statSync(join(folder, path)).mtimeMs])
  )

/** What a killed run would leave half-written. */
export const partials = (folder: string) => filesBelow(folder).filter((path) => path.includes("partial"))

interface KeptEvent {
  readonly type: string
  readonly task?: string
  readonly why?: string
}

/** The events that a run has kept so far. */
export const events = (run: string): ReadonlyArray<KeptEvent> => {
  const file = join(run, "events.jsonl")
  if (!existsSync(file)) return []
  const lines = readFileSync(file, "utf8").split("\n").slice(0, -1)
  return lines.map((line) => JSON.parse(line) as KeptEvent)
}

/** The tasks that a run has started, in order. */
export const startedTasks = (run: string) =>
  events(run).flatMap(({ type, task }) => (type === "task-started" ? [task!] : []))
