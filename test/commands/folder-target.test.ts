/** A folder of images without labels as the target: all of a run but its scores, which is said; and clusters instead. */
import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { drawPair, type Ended, filesBelow, mmt, sha256, startedTasks, writeRunFile } from "./mmt.ts"

// Whole runs in processes of their own, on a machine that may be busy.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 })

const runFile = (target: string) => `seed: 5
data:
  source: { root: pair/source }
  target: ${target}
  height: 64
  width: 32
pretrain: { epochs: 1, iterations: 2, identities: 4, instances: 2, pad: 3, milestones: [] }
adapt: { epochs: 2, iterations: 2, classes: 5, identities: 2, instances: 2, pad: 3 }
evaluate: { every: 2 }
`
const unscored = "nothing is evaluated: the target has no labels (format folder), so there is nothing to score\n"

let home: string
let labelled: Ended
let first: Ended
const run = (...path: ReadonlyArray<string>) => join(home, "runs/folder", ...path)

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "mmt-folder-"))
  await drawPair(home)
  const images = "pair/target/bounding_box_train"
  writeRunFile(home, runFile("{ root: pair/target }"), "labelled.yaml")
  writeRunFile(
    home,
    runFile(`{ format: folder, root: ${images}, cameraPattern: "_c(?<camera>[0-9]+)s" }`),
    "folder.yaml"
  )
  ;[labelled, first] = await Promise.all([mmt(home, "run", "labelled.yaml"), mmt(home, "run", "folder.yaml")])
})

afterAll(() => rmSync(home, { recursive: true, force: true }))

describe("mmt run", () => {
  it("ends well, says before and after that nothing is scored, and shows the clusters", () => {
    expect(first.code, first.err).toBe(0)
    expect(first.err.startsWith(unscored)).toBe(true)
    expect(first.out.startsWith(`\n${unscored}\n`)).toBe(true)
    const lines = first.out.split("\n")
    expect(lines[3]).toMatch(/^target clusters +clusters +smallest +median +largest +outliers +moved +NMI$/)
    expect(lines[4]).toMatch(/^mmt, epoch 1 +5 +\d+ +[\d.]+ +\d+ +0$/)
    expect(lines[5]).toMatch(/^mmt, epoch 2 +5 +\d+ +[\d.]+ +\d+ +0 +[\d.]+ % +[01]\.\d{3}$/)
    expect(first.out).toMatch(/\nmmt +\d+ s +4 +\d+ ms +[\d.]+ %\n/)
    expect(first.out).toContain("\nseed 5; run folder: runs/folder\n")
  })

  it("decodes, embeds, clusters and trains, and does nothing that is for scores", () => {
    const files = filesBelow(run()).filter((path) => path.endsWith(".arrow"))
    expect(files.filter((path) => !/^(pretrain|train|cluster|embed)\//.test(path))).toEqual([
      "decode/source-train/part-00000.arrow",
      "decode/target-train/part-00000.arrow"
    ])
    expect(files.filter((path) => path.startsWith("embed/"))).toEqual(
      ["epoch-001", "epoch-002"].map((epoch) => `embed/${epoch}/target-train/embeddings.arrow`)
    )
    expect(files).toContain("train/epoch-002/checkpoint.arrow")
  })

  it("trains the very networks that a labelled target of the same images gives: its labels are never read", () => {
    expect(labelled.code, labelled.err).toBe(0)
    for (const epoch of ["epoch-001", "epoch-002"])
      for (const port of ["checkpoint", "train-metrics"]) {
        const file = `train/${epoch}/${port}.arrow`
        expect(sha256(run(file)), file).toBe(sha256(join(home, "runs/labelled", file)))
      }
  })
})

it("mmt plan says that nothing is scored", async () => {
  const { out, code } = await mmt(home, "plan", "folder.yaml")
  expect(code).toBe(0)
  expect(out.endsWith(`\n10 of 10 tasks done in runs/folder\n${unscored}`)).toBe(true)
  expect(out.slice(0, -unscored.length)).not.toMatch(/evaluate|query|gallery/)
})

describe("mmt score", () => {
  it("prints the report of the run", async () => {
    expect((await mmt(home, "score", "runs/folder")).out).toBe(first.out)
  })

  it("prints the clusters as JSON, and on stderr why", async () => {
    const { out, err, code } = await mmt(home, "score", "runs/folder", "--json")
    expect([code, err]).toEqual([0, unscored])
    const [mmtRow, ...more] = JSON.parse(out)
    expect([mmtRow.name, more]).toEqual(["mmt", []])
    const [one, two] = mmtRow.clusterings
    expect(one).toMatchObject({ epoch: 1, images: 36, clusters: 5, outliers: 0 })
    expect(one).not.toHaveProperty("moved")
    expect(two.moved).toBeGreaterThanOrEqual(0)
    expect(two.moved).toBeLessThan(1)
    expect(two.nmi).toBeLessThanOrEqual(1)
  })

  it("says that nothing is clustered in a run that has not come that far", async () => {
    mkdirSync(join(home, "early"))
    cpSync(run("run.yaml"), join(home, "early/run.yaml"))
    const { err, code } = await mmt(home, "score", "early")
    expect([code, err]).toEqual([1, "early: nothing is clustered in it yet by its run.yaml\n"])
  })
})

it("another pattern of the cameras redoes the target alone, and one camera for all images works", async () => {
  const { length } = startedTasks(run())
  const set = ["--set", 'data.target.cameraPattern="(?<camera>_)"', "--set", "adapt.epochs=1"]
  const all = await mmt(home, "run", "folder.yaml", ...set)
  expect(all.code, all.err).toBe(0)
  const redone = startedTasks(run()).slice(length)
  expect(redone[0]).toBe("decode/target-train")
  expect(redone.filter((task) => /^pretrain|source/.test(task))).toEqual([])
  expect(redone.at(-1)).toBe("train/epoch-001")
})
