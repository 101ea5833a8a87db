/** What can be asked of a finished run and done again with it: its tasks' states, and its stages. */
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { Effect, Layer } from "effect"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { openRun } from "#audit/open-run.ts"
import { rerunTask } from "#audit/rerun.ts"
import { AugmentationPool } from "#data/augmentation-pool.ts"
import { Programs } from "#engine/programs.ts"
import type { TaskRecord } from "#pipeline/manifest.ts"
import { planTasks } from "#pipeline/plan.ts"
import { selectTasks } from "#pipeline/task-selection.ts"
import { batchOf, viewOf } from "#schemas/artifact.ts"
import { pseudoLabels } from "#schemas/pseudo-labels.ts"
import { editManifest, forge, makeSmallRun } from "../audit/small-run.ts"
import { filesBelow, mmt, sha256 } from "./mmt.ts"

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

let home: string
beforeAll(async () => {
  home = await makeSmallRun()
})
afterAll(() => rmSync(home, { recursive: true, force: true }))

/** Every file below a folder with its bytes and its time of change. */
const contents = (folder: string) =>
  Object.fromEntries(
    filesBelow(folder).map((path) => [path, [sha256(join(folder, path)), statSync(join(folder, path)).mtimeMs]])
  )

const edit = (file: string, change: (text: string) => string) => writeFileSync(file, change(readFileSync(file, "utf8")))

/** A copy of the run beside it, so that it finds the data. */
const copyRun = () => {
  const folder = mkdtempSync(join(home, "runs/copy-"))
  cpSync(join(home, "runs/small"), folder, { recursive: true, preserveTimestamps: true })
  return folder
}

/** Changes a byte of a task's file, and the manifest so that it was written at that time. */
const flipUnseen = (folder: string, task: string, path: string) => {
  const file = join(folder, path)
  const bytes = readFileSync(file)
  bytes[bytes.length >> 1]! ^= 1
  writeFileSync(file, bytes)
  const modified = statSync(file).mtimeMs
  edit(join(folder, "manifest.json"), (text) => {
    const manifest = JSON.parse(text) as { tasks: Record<string, TaskRecord> }
    const files = Object.values(manifest.tasks[task]!.outputs).flatMap((output) => output.files)
    Object.assign(files.find((one) => one.path === path)!, { modified })
    return JSON.stringify(manifest)
  })
}

interface Status {
  readonly counts: Readonly<Record<string, number>>
  readonly tasks: ReadonlyArray<{
    readonly task: string
    readonly state: string
    readonly reasons: ReadonlyArray<string>
    readonly waitsFor?: string
    readonly unseen?: string
  }>
  readonly others: ReadonlyArray<string>
}

const statusOf = async (folder: string, ...flags: ReadonlyArray<string>) => {
  const { code, out, err } = await mmt(home, "status", folder, "--json", ...flags)
  expect(code, err).toBe(0)
  const status = JSON.parse(out) as Status
  return { ...status, of: (id: string) => status.tasks.find(({ task }) => task === id)! }
}

describe("mmt status", () => {
  it("says of a finished run that all is done, and changes nothing in it", async () => {
    const before = contents(join(home, "runs/small"))
    const { code, out } = await mmt(home, "status", "runs/small/", "--verify")
    expect(code).toBe(0)
    expect(out).toBe("runs/small: 24 tasks: 24 done\n")
    expect(contents(join(home, "runs/small"))).toEqual(before)
  })

  it("tells a corrupt task by its file, and what comes of it as done", async () => {
    const folder = copyRun()
    rmSync(join(folder, "cluster/epoch-001/centroids.arrow"))
    truncateSync(join(folder, "evaluate/epoch-002/teacher-1/metrics.arrow"), 100)
    const { counts, of } = await statusOf(folder)
    expect(counts).toEqual({ done: 22, stale: 0, corrupt: 2, missing: 0 })
    expect(of("cluster/epoch-001")).toMatchObject({
      state: "corrupt",
      reasons: ["cluster/epoch-001/centroids.arrow is missing"]
    })
    expect(of("train/epoch-001").state).toBe("done")
  })

  it("sees with --verify a byte that changed under an unchanged time", async () => {
    const folder = copyRun()
    flipUnseen(folder, "train/epoch-001", "train/epoch-001/checkpoint.arrow")
    expect((await statusOf(folder)).counts.corrupt).toBe(0)
    const { of } = await statusOf(folder, "--verify")
    expect(of("train/epoch-001").reasons).toEqual(["train/epoch-001/checkpoint.arrow was changed"])
  })

  it("names the parameter that makes tasks stale, and folds those that wait for them", async () => {
    const folder = copyRun()
    edit(join(folder, "run.yaml"), (text) => text.replace("classes: 5", "classes: 4"))
    const { out } = await mmt(home, "status", folder)
    const lines = out.trimEnd().split("\n")
    expect(lines[0]).toMatch(/: 24 tasks: 13 done, 11 stale$/)
    expect(lines.slice(2)).toEqual([
      "state  task               why",
      "stale  cluster/epoch-001  cluster.classes: 5 → 4",
      "  10 wait for it:",
      expect.stringContaining("train/epoch-001…002, embed/epoch-002/target-train, cluster/epoch-002"),
      expect.any(String),
      "    embed/epoch-002/teacher-2-gallery, evaluate/epoch-002/teacher-2"
    ])
    const { of } = await statusOf(folder)
    expect(of("cluster/epoch-002")).toMatchObject({ state: "stale", waitsFor: "embed/epoch-002/target-train" })
  })

  it("says what of a run is missing, and what is not of its run file", async () => {
    const folder = copyRun()
    edit(join(folder, "run.yaml"), (text) => text.replace("adapt:\n  epochs: 2", "adapt:\n  epochs: 1"))
    const shorter = await statusOf(folder)
    expect(shorter.counts).toEqual({ done: 15, stale: 0, corrupt: 0, missing: 6 })
    expect(shorter.of("evaluate/epoch-001/teacher-1")).toMatchObject({ waitsFor: "embed/epoch-001/teacher-1-query" })
    expect(shorter.others).toContain("train/epoch-002")
    expect((await mmt(home, "status", folder)).out).toMatch(/\n9 tasks in the folder are not of its run.yaml:\n/)
  })

  it("does without the data set's folder, and says that its images were not looked at", async () => {
    renameSync(join(home, "pair"), join(home, "away"))
    const { counts, of } = await statusOf("runs/small")
    const plain = await mmt(home, "status", "runs/small")
    renameSync(join(home, "away"), join(home, "pair"))
    expect(counts.done).toBe(24)
    expect(of("decode/target-query").unseen).toMatch(/^no folder .*pair\/target\/bounding_box_train: /)
    expect(of("embed/epoch-001/target-train").unseen).toBeUndefined()
    expect(plain.out).toMatch(
      /\ndecode\/target-train, decode\/target-query, decode\/target-gallery: what they were made from cannot be compared: no folder /
    )
  })

  it("ends with 1 and a line where there is no run", async () => {
    const { code, err } = await mmt(home, "status", "pair")
    expect([code, err]).toEqual([1, "pair: is not a run's folder: it has no run.yaml\n"])
  })
})

/** Runs tasks again without a process of their own. */
const rerun = (folder: string, ...named: ReadonlyArray<string>) =>
  Effect.runPromise(
    Effect.gen(function* () {
      const run = yield* openRun(folder)
      const tasks = yield* Effect.forEach(named, (text) => selectTasks(planTasks(run.config), text))
      return yield* Effect.forEach(tasks.flat(), ({ id }) => rerunTask(run, id, () => {}))
    }).pipe(Effect.provide(Layer.mergeAll(AugmentationPool.layer(1), Programs.layer)))
  )

describe("mmt rerun", () => {
  const small = () => join(home, "runs/small")

  it("reproduces every stage's bytes, those of the tap among them, and leaves the run as it was", async () => {
    const [before, beside] = [contents(small()), readdirSync(join(home, "runs"))]
    const stages = [
      "decode",
      "embed@2",
      "cluster@1",
      "augment@2",
      "pretrain/train-step@1",
      "ema-update@1",
      "evaluate@2"
    ]
    const outcomes = await rerun(small(), ...stages, "source-only/embed", "evaluate/source-only/student-2")
    expect(outcomes.filter(({ reproduced, notes }) => !reproduced || notes.length > 0)).toEqual([])
    expect(outcomes.map(({ task }) => task)).toEqual([
      ...["decode/source-train", "decode/target-train", "decode/target-query", "decode/target-gallery"],
      ...["target-train", "teacher-1-query", "teacher-1-gallery", "teacher-2-query", "teacher-2-gallery"].map(
        (of) => `embed/epoch-002/${of}`
      ),
      ...["cluster/epoch-001", "train/epoch-002", "pretrain/student-1/epoch-001", "pretrain/student-2/epoch-001"],
      ...["train/epoch-001", "evaluate/epoch-002/teacher-1", "evaluate/epoch-002/teacher-2"],
      ...["1-query", "1-gallery", "2-query", "2-gallery"].map((of) => `embed/source-only/student-${of}`),
      "evaluate/source-only/student-2"
    ])
    const trained = outcomes.find(({ task }) => task === "train/epoch-002")!
    expect(trained.files.map(({ path }) => path)).toEqual([
      ...["train-metrics", "checkpoint", "teacher-updates"].map((port) => `train/epoch-002/${port}.arrow`),
      ...["batches", "networks"].map((kind) => `train/epoch-002/tap/${kind}.arrow`)
    ])
    expect(contents(small())).toEqual(before)
    expect(readdirSync(join(home, "runs"))).toEqual(beside)
  })

  it("names the first row and column of what came out otherwise, and ends with 1", async () => {
    const folder = copyRun()
    const file = "cluster/epoch-001/pseudo-labels.arrow"
    let [was, image] = [0, ""]
    await forge(folder, file, (batch) => {
      const view = viewOf(pseudoLabels, batch)
      ;[was, image] = [view.label[7]!, view.image[7]!]
      const label = view.label.map((one, row) => (row === 7 ? (was + 1) % 5 : one))
      return batchOf(pseudoLabels, { ...view, label }, {})
    })
    const { code, out, err } = await mmt(home, "rerun", folder, "cluster@1")
    expect(code).toBe(1)
    expect(err).toBe(`${folder}: not reproduced: cluster/epoch-001\n`)
    const lines = out.split("\n")
    expect(lines[0]).toMatch(/^cluster\/epoch-001: NOT reproduced \(/)
    expect(lines[1]).toMatch(/^ {2}OTHER cluster\/epoch-001\/pseudo-labels.arrow {2}36 rows {2}sha256 \w{16} → \w{16}$/)
    expect(lines[2]).toMatch(/^ +1 of 36 rows differ, by [14]\.00 at most \(column "label"\)$/)
    expect(lines[3]!.trim()).toBe(`first at row 7 (${image}), column "label": ${was}, was ${(was + 1) % 5}`)
    expect(lines[4]).toMatch(/^ {2}same {2}cluster\/epoch-001\/centroids.arrow/)
  })

  it("tells a file that was changed since from one that is not reproduced", async () => {
    const folder = copyRun()
    flipUnseen(folder, "cluster/epoch-001", "cluster/epoch-001/centroids.arrow")
    rmSync(join(folder, "cluster/epoch-001/pseudo-labels.arrow"))
    rmSync(join(folder, "train/epoch-001/tap"), { recursive: true })
    const [clustered, trained] = await rerun(folder, "cluster@1", "cluster/epoch-002")
    expect(clustered!.reproduced).toBe(true)
    expect(clustered!.files[0]!.problem).toBe("cluster/epoch-001/pseudo-labels.arrow is missing")
    expect(trained!.reproduced).toBe(true)
  })

  it("says what else the bytes may differ by", async () => {
    const folder = copyRun()
    editManifest(
      folder,
      (text) => text.replaceAll(/"engine": "tensorflow [\d.]+/g, '"engine": "tensorflow 2.9.1'),
      ({ tasks }) => Object.assign(tasks["cluster/epoch-002"]!.steps[0]!, { version: 0 })
    )
    const [outcome] = await rerun(folder, "cluster@2")
    expect(outcome!.notes).toEqual([
      "made by version 0 of stage cluster, which is at version 1",
      expect.stringMatching(/^made with tensorflow 2\.9\.1, which is [\d.]+ here$/)
    ])
  })

  it("does not run on an input that is not what was taken in", async () => {
    const folder = copyRun()
    truncateSync(join(folder, "embed/epoch-001/target-train/embeddings.arrow"), 100)
    await expect(rerun(folder, "cluster@1")).rejects.toThrow(
      /: cluster\/epoch-001 cannot be run again: its input embeddings: embed\/epoch-001\/target-train\/embeddings.arrow has 100 bytes/
    )
  })

  it.each([
    ["cluster@9", /^cluster@9: the run has no such task; of stage cluster it has mmt\/cluster@1 to mmt\/cluster@2$/],
    [
      "evaluate",
      /^evaluate: the run has no such task; of stage evaluate it has source-only\/evaluate, mmt\/evaluate@2$/
    ],
    ["clusters@1", /^clusters@1: no task of the run, and no stage: expected STAGE@EPOCH as cluster@3/]
  ])("says of %s what there is", async (named, message) => {
    await expect(rerun(small(), named)).rejects.toThrow(message)
  })
})
