/** `mmt ablate` as a user runs it: the rows of Table 2 of a small run. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import type { AblationRow } from "#pipeline/ablation.ts"
import { drawPair, type Ended, filesBelow, mmt, startedTasks, tinyRun, writeRunFile } from "./mmt.ts"

// Whole runs in processes of their own, on a machine that may be busy.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 })

let home: string
let first: Ended
// So few images have clusters only by few neighbours.
const dbscan = ["k1=4", "k2=2", "minSamples=2", "eps=0.5"].flatMap((one) => ["--set", `adapt.${one}`])
const args = ["ablate", "tiny.yaml", "--classes", "4", "--seed", "7", ...dbscan]
const folder = () => join(home, "runs/ablation/tiny/seed-7")

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "mmt-ablate-"))
  await drawPair(home)
  const brief = tinyRun.replace(/epochs: 2, iterations: 3/g, "epochs: 1, iterations: 1")
  writeRunFile(home, brief)
  first = await mmt(home, ...args, "--json")
})

afterAll(() => rmSync(home, { recursive: true, force: true }))

const names = [
  "source-only",
  "baseline",
  "hard-labels-mean-teachers",
  "without-soft-triplet",
  "without-mean-teaching",
  "only-soft-losses",
  "without-hard-identity",
  "mmt",
  "mmt-dbscan",
  "mmt-4"
]

describe("mmt ablate", () => {
  it("prints every row with its scores, which are those of the run", async () => {
    expect(first.code, first.err).toBe(0)
    const { seeds, rows } = JSON.parse(first.out) as { seeds: unknown; rows: ReadonlyArray<AblationRow> }
    expect(seeds).toEqual([7])
    expect(rows.map(({ name }) => name)).toEqual(names)
    const { out } = await mmt(home, "score", folder(), "--json")
    const scores = JSON.parse(out) as ReadonlyArray<{ name: string; mAP: number; top1: number }>
    for (const { name, last } of rows)
      expect(scores.find((row) => row.name === name)).toMatchObject({ mAP: last.mAP.mean, top1: last.top1.mean })
  })

  it("decodes and pre-trains once for all rows", () => {
    const started = startedTasks(folder()).filter((task) => /^(decode|pretrain)/.test(task))
    expect(started).toHaveLength(6)
    expect(new Set(started).size).toBe(6)
  })

  it("gives the seed a run of its own, whose folder describes it whole", () => {
    const text = readFileSync(join(folder(), "run.yaml"), "utf8")
    expect(text).toContain("name: tiny-seed-7\nseed: 7\n")
    expect(text).toContain("without-mean-teaching:")
    expect(filesBelow(join(home, "runs")).every((path) => path.startsWith("ablation/tiny/seed-7/"))).toBe(true)
  })

  it("again prints a table of what is there", async () => {
    const { length } = startedTasks(folder())
    const { code, out } = await mmt(home, ...args)
    expect(code).toBe(0)
    expect(startedTasks(folder())).toHaveLength(length)
    const lines = out.split("\n")
    expect(lines[1]).toMatch(/^target test, % +mAP +top-1 +best mAP +its top-1$/)
    expect(lines.slice(2, 2 + names.length).map((line) => line.split(" ")[0])).toEqual(names)
    expect(out).toContain("seeds 7; run folders: runs/ablation/tiny/seed-*; ")
  })
})
