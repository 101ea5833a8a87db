/** A run that is interrupted, killed and taken up again ends with the same bytes as one that nobody disturbed. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import {
  digests,
  drawPair,
  events,
  filesBelow,
  mmt,
  partials,
  repository,
  start,
  startedTasks,
  startMmt,
  tinyRun,
  writeRunFile
} from "./mmt.ts"

// Whole runs in processes of their own, on a machine that may be busy.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 })

let home: string
/** How long a command that does nothing takes here: the measure of what is quick on this machine. */
let nothing: number
const disturbed = () => join(home, "disturbed")
const args = ["run", "tiny.yaml", "--out", "disturbed", "--threads", "2"]

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "mmt-interrupt-"))
  await drawPair(home)
  const text = tinyRun
    .replace("pretrain: { epochs: 2,", "pretrain: { epochs: 1,")
    .replace("adapt: { epochs: 2, iterations: 3,", "adapt: { epochs: 2, iterations: 30,")
  writeRunFile(home, `${text}evaluate: { every: 2 }\ntrain: { checkpointEvery: 9 }\n`)
  const before = performance.now()
  await mmt(home, "--version")
  nothing = performance.now() - before
})

afterAll(() => rmSync(home, { recursive: true, force: true }))

/** Waits until something is so of the disturbed run. */
const until = async (isSo: () => boolean, child: { readonly exitCode: number | null }) => {
  while (!isSo()) {
    if (child.exitCode !== null) throw new Error("the run ended before")
    await sleep(3)
  }
}

const taskStarted = (task: string, child: { readonly exitCode: number | null }) =>
  until(() => startedTasks(disturbed()).includes(task), child)

/** Sends a signal and gives the exit code and the milliseconds until the end. */
const end = async ({ child, ended }: ReturnType<typeof startMmt>, signal: NodeJS.Signals) => {
  const before = performance.now()
  child.kill(signal)
  const { code, err } = await ended
  return { code, err, millis: performance.now() - before }
}

/** Two seconds, more only where even a command that does nothing takes that long. */
const soon = () => Math.max(2000, 3 * nothing)

/** The iteration of the second epoch with which a run would go on; 0 for the first. */
const keptIteration = (): number => {
  const file = join(disturbed(), "train/epoch-002/resume/point.json")
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as { iteration: number }).iteration : 0
}

const recorded = () => {
  const file = join(disturbed(), "manifest.json")
  return existsSync(file) ? Object.keys((JSON.parse(readFileSync(file, "utf8")) as { tasks: object }).tasks) : []
}

describe("a disturbed run", () => {
  it.each(["SIGINT", "SIGTERM"] as const)("ends at once when it is interrupted while decoding: %s", async (signal) => {
    rmSync(disturbed(), { recursive: true, force: true })
    const run = startMmt(home, ...args)
    await taskStarted("decode/source-train", run.child)
    const { code, err, millis } = await end(run, signal)
    expect(code).toBe(130)
    expect(millis).toBeLessThan(soon())
    expect(err).not.toMatch(/\n\s+at /)
    expect(recorded()).toEqual([])
    expect(partials(disturbed())).toEqual([])
  })

  it("may be killed, and removes later what was half-written then, but not what another process writes", async () => {
    const run = startMmt(home, ...args)
    await taskStarted("pretrain/student-2/epoch-001", run.child)
    run.child.kill("SIGSTOP")
    const second = await mmt(home, ...args)
    expect(second.code).toBe(1)
    expect(second.err).toMatch(new RegExp(`disturbed: process ${run.child.pid} on .+ runs here since`))
    await end(run, "SIGKILL")
    expect(recorded()).toContain("pretrain/student-1/epoch-001")
    expect(recorded()).not.toContain("pretrain/student-2/epoch-001")
    const folder = join(disturbed(), "pretrain/student-1/epoch-001")
    writeFileSync(join(folder, `.checkpoint.arrow.${run.child.pid}.partial`), "half")
    writeFileSync(join(folder, `.checkpoint.arrow.${process.pid}.partial`), "half")
  })

  it("ends at once when it is interrupted while training, also through the launcher", async () => {
    const killed = startMmt(home, ...args)
    await until(() => keptIteration() === 9, killed.child)
    await end(killed, "SIGKILL")
    const run = start(process.execPath, [join(repository, "cli/launch.mjs"), ...args], home)
    await until(() => keptIteration() >= 18, run.child)
    const { code, err, millis } = await end(run, "SIGINT")
    expect(code).toBe(130)
    expect(millis).toBeLessThan(soon())
    expect(err).not.toMatch(/\n\s+at /)
    expect(recorded()).toContain("cluster/epoch-002")
    expect(recorded()).not.toContain("train/epoch-002")
    const files = filesBelow(join(disturbed(), "train/epoch-002"))
    expect(files.filter((path) => !path.startsWith("resume/"))).toEqual([])
    const own = `pretrain/student-1/epoch-001/.checkpoint.arrow.${process.pid}.partial`
    expect(partials(disturbed())).toEqual([own])
    rmSync(join(disturbed(), own))
  })

  it("goes on within the epoch where it was, and ends with the bytes of an undisturbed run", async () => {
    const [on, whole] = await Promise.all([
      mmt(home, ...args),
      mmt(home, "run", "tiny.yaml", "--out", "undisturbed", "--threads", "1")
    ])
    expect(on.code, on.err).toBe(0)
    expect(whole.code, whole.err).toBe(0)
    expect(digests(disturbed())).toEqual(digests(join(home, "undisturbed")))
    expect(partials(home)).toEqual([])
    expect(on.err).toMatch(/train\/epoch-002: goes on with iteration (18|27) of 30/)
    expect(filesBelow(disturbed()).filter((path) => /resume|lock/.test(path))).toEqual([])
    const done = events(disturbed()).flatMap(({ type, task }) => (type === "task-done" ? [task] : []))
    expect(new Set(done).size).toBe(done.length)
    expect(on.out.replace("disturbed", "")).toContain("target test, %")
  })
})
