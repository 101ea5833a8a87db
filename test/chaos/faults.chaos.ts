/** What goes wrong around a run: a typed error, an intact run, and the bytes of an undisturbed one in the end. */
import { spawnSync } from "node:child_process"
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { digests, drawPair, mmt, partials, startedTasks, startMmt, tinyRun, writeRunFile } from "../commands/mmt.ts"

// Whole runs in processes of their own, on a machine that may be busy.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 })

let home: string
let expected: Readonly<Record<string, string>>
const run = (out: string, ...more: ReadonlyArray<string>) => mmt(home, "run", "tiny.yaml", "--out", out, ...more)

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "mmt-faults-"))
  await drawPair(home)
  writeRunFile(home, `${tinyRun.replace("pretrain: { epochs: 2,", "pretrain: { epochs: 1,")}evaluate: { every: 2 }\n`)
  const whole = await run("undisturbed")
  if (whole.code !== 0) throw new Error(whole.err)
  expected = digests(join(home, "undisturbed"))
})

afterAll(() => rmSync(home, { recursive: true, force: true }))

/** The run at the end of its troubles. */
const endsWhole = async (out: string) => {
  const { code, err } = await run(out)
  expect(code, err).toBe(0)
  expect(digests(join(home, out))).toEqual(expected)
}

/** An error as a user sees it: exit code 1, what and where, no stack trace. */
const failure = ({ code, err }: Awaited<ReturnType<typeof mmt>>) => {
  expect(code, err).toBe(1)
  expect(err).not.toMatch(/\n\s+at /)
  return err
}

it("a loss that is no number stops the training, keeps its batch and leaves what was done", async () => {
  const err = failure(await run("diverged", "--set", "adapt.learningRate=1e30"))
  const file = "diverged/train/epoch-001/failed-batch.arrow"
  expect(err).toMatch(
    /epoch 1, iteration 1: loss term "\w+" is (NaN|Infinity|-Infinity), .*; its batch is kept in diverged\/train\/epoch-001\/failed-batch\.arrow/
  )
  const shown = await mmt(home, "show", file)
  expect(shown.code, shown.err).toBe(0)
  expect(shown.out).toMatch(/ rows, batches$/m)
  expect(Object.keys(digests(join(home, "diverged")))).toContain("cluster/epoch-001/pseudo-labels.arrow")
  await endsWhole("diverged")
  expect(existsSync(join(home, file))).toBe(false)
})

it("an artifact that is cut off under the run is named, and made again by the next one", async () => {
  const going = startMmt(home, "run", "tiny.yaml", "--out", "cut")
  const file = join(home, "cut/decode/target-train/part-00000.arrow")
  while (!startedTasks(join(home, "cut")).includes("pretrain/student-1/epoch-001")) await sleep(2)
  truncateSync(file, 1000)
  expect(failure(await going.ended)).toContain("decode/target-train/part-00000.arrow")
  await endsWhole("cut")
})

it("a resume point that is damaged is passed over aloud, and the epoch starts over", async () => {
  const going = startMmt(home, "run", "tiny.yaml", "--out", "damaged", "--set", "train.checkpointEvery=1")
  const folder = join(home, "damaged/train/epoch-002/resume")
  while (!existsSync(join(folder, "point.json"))) await sleep(2)
  going.child.kill("SIGKILL")
  await going.ended
  for (const name of readdirSync(folder).filter((path) => path.endsWith(".arrow"))) {
    const bytes = readFileSync(join(folder, name))
    bytes[bytes.length >> 1]! ^= 4
    writeFileSync(join(folder, name), bytes)
  }
  const { code, err } = await run("damaged")
  expect(code, err).toBe(0)
  expect(err).toMatch(
    /train\/epoch-002: the epoch starts over, as its resume point cannot be used: \S+\.arrow was changed/
  )
  expect(digests(join(home, "damaged"))).toEqual(expected)
})

it("a clock that jumps changes nothing", async () => {
  const jumping = `
    const [real, span] = [Date.now, 40 * 365 * 86_400_000]
    let jump = 0
    setInterval(() => { jump = Math.round((Math.random() - 0.5) * span) }, 20).unref()
    Date.now = () => real() + jump
    globalThis.Date = class extends Date { constructor(...given) { given.length ? super(...given) : super(real() + jump) } }`
  writeFileSync(join(home, "jumping.mjs"), jumping)
  vi.stubEnv("NODE_OPTIONS", `--import ${join(home, "jumping.mjs")}`)
  try {
    await endsWhole("jumped")
    await endsWhole("jumped")
  } finally {
    vi.unstubAllEnvs()
  }
})

const mount = (...args: ReadonlyArray<string>) => spawnSync("mount", args).status === 0

/** A file system of a size on a folder, if this machine lets the test make one. */
const small = (folder: string, size: string) => {
  mkdirSync(folder, { recursive: true })
  return mount("-t", "tmpfs", "-o", `size=${size}`, "tmpfs", folder)
}

const mountable = () => {
  const folder = mkdtempSync(join(tmpdir(), "mmt-mount-"))
  const can = small(folder, "1m")
  if (can) spawnSync("umount", [folder])
  rmSync(folder, { recursive: true })
  if (!can) console.warn("skipped: a full and a read-only disk, as this machine lets no test mount one")
  return can
}

describe.runIf(mountable())("a file system of its own", () => {
  const disk = () => join(home, "disk")
  afterAll(() => void spawnSync("umount", ["-l", disk()]))

  it("that is full: the file is named, what was done stays, and with more room the run goes on", async () => {
    expect(small(disk(), "5m")).toBe(true)
    const err = failure(await run("disk/run"))
    expect(err).toMatch(/disk\/run\/\S+: cannot be written: ENOSPC/)
    expect(partials(disk())).toEqual([])
    const kept = digests(join(disk(), "run"))
    expect(Object.keys(kept).length).toBeGreaterThan(0)
    expect(mount("-o", "remount,size=200m", disk())).toBe(true)
    await endsWhole("disk/run")
    for (const [path, digest] of Object.entries(kept)) expect(expected[path]).toBe(digest)
  })

  it("that is read-only: it says so, and what is there can be read", async () => {
    expect(mount("-o", "remount,ro", disk())).toBe(true)
    expect(failure(await run("disk/run", "--set", "adapt.epochs=1"))).toMatch(/disk\/run\S*: cannot be written: EROFS/)
    const score = await mmt(home, "score", "disk/run")
    expect(score.code, score.err).toBe(0)
  })
})
