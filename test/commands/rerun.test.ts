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
import { makeVariant } from "#audit/variant.ts"
import { statusOf, statusText } from "#cli/status.ts"
import { AugmentationPool } from "#data/augmentation-pool.ts"
import { Programs } from "#engine/programs.ts"
import type { TaskRecord } from "#pipeline/manifest.ts"
import { planTasks } from "#pipeline/plan.ts"
import { planRun } from "#pipeline/run-state.ts"
import type { Override } from "#pipeline/settings.ts"
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

/** The tasks of a run with their states, as `mmt status` takes them. */
const statesOf = (folder: string, everyByte = false) =>
  Effect.runPromise(
    Effect.gen(function* () {
      const { config } = yield* openRun(folder)
      const tasks = yield* planRun(config, folder, { everyByte, withoutData: true })
      const of = (id: string) => tasks.find(({ task }) => task.id === id)!
      return { done: tasks.filter(({ state }) => state.state === "done").length, total: tasks.length, of }
    })
  )

/** What `mmt status` prints of a run. */
const statusIn = (folder: string) =>
  Effect.runPromise(
    Effect.map(
      Effect.flatMap(openRun(folder), (run) => statusOf(run, false)),
      statusText
    )
  )

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
    const { out } = await mmt(home, "status", folder, "--json")
    const status = JSON.parse(out) as { counts: object; tasks: ReadonlyArray<{ task: string }>; others: unknown }
    expect(status).toMatchObject({ run: folder, counts: { done: 22, stale: 0, corrupt: 2, missing: 0 }, others: [] })
    const of = (id: string) => status.tasks.find(({ task }) => task === id)
    expect(of("cluster/epoch-001")).toEqual({
      ...{ task: "cluster/epoch-001", stages: ["cluster"], state: "corrupt" },
      reasons: ["cluster/epoch-001/centroids.arrow is missing"]
    })
    expect(of("train/epoch-001")).toMatchObject({ state: "done", reasons: [] })
  })

  it("sees with --verify a byte that changed under an unchanged time", async () => {
    const folder = copyRun()
    flipUnseen(folder, "train/epoch-001", "train/epoch-001/checkpoint.arrow")
    expect((await statesOf(folder)).done).toBe(24)
    expect((await statesOf(folder, true)).of("train/epoch-001").state).toMatchObject({
      state: "corrupt",
      reasons: ["train/epoch-001/checkpoint.arrow was changed"]
    })
  })

  it("names the parameter that makes tasks stale, and folds those that wait for them", async () => {
    const folder = copyRun()
    edit(join(folder, "run.yaml"), (text) => text.replace("classes: 5", "classes: 4"))
    const lines = (await statusIn(folder)).split("\n")
    expect(lines[0]).toMatch(/: 24 tasks: 13 done, 11 stale$/)
    expect(lines.slice(2)).toEqual([
      "state  task               why",
      "stale  cluster/epoch-001  cluster.classes: 5 → 4",
      "  10 wait for it:",
      expect.stringContaining("train/epoch-001…002, embed/epoch-002/target-train, cluster/epoch-002"),
      expect.any(String),
      "    embed/epoch-002/teacher-2-gallery, evaluate/epoch-002/teacher-2"
    ])
    const { of } = await statesOf(folder)
    expect(of("cluster/epoch-002")).toMatchObject({
      state: { state: "stale" },
      waitsFor: "embed/epoch-002/target-train"
    })
  })

  it("says what of a run is missing, and what is not of its run file", async () => {
    const folder = copyRun()
    edit(join(folder, "run.yaml"), (text) => text.replace("adapt:\n  epochs: 2", "adapt:\n  epochs: 1"))
    const out = `${await statusIn(folder)}\n`
    expect(out).toMatch(/: 21 tasks: 15 done, 6 missing\n/)
    expect(out).toMatch(
      /\nmissing {2}embed\/epoch-001\/teacher-2-query\n {2}1 wait for it:\n {4}evaluate\/epoch-001\/teacher-2\n/
    )
    expect(out).toMatch(/\n9 tasks in the folder are not of its run.yaml:\n {2}embed\/epoch-002\/target-train, /)
  })

  it("does without the data set's folder, and says that its images were not looked at", async () => {
    renameSync(join(home, "pair"), join(home, "away"))
    const out = await statusIn(join(home, "runs/small"))
    renameSync(join(home, "away"), join(home, "pair"))
    expect(out).toMatch(/runs\/small: 24 tasks: 24 done\n/)
    expect(out).toMatch(
      /\ndecode\/target-train, decode\/target-query, decode\/target-gallery: what they were made from cannot be compared: no folder /
    )
  })

  it("says where there is no run", async () => {
    await expect(statusIn("pair")).rejects.toThrow("pair: is not a run's folder: it has no run.yaml")
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

/** Makes a variant without a process of its own. */
const vary = (folder: string, named: string, ...set: ReadonlyArray<Override>) =>
  Effect.runPromise(
    Effect.gen(function* () {
      const run = yield* openRun(folder)
      const tasks = yield* selectTasks(planTasks(run.config), named)
      return yield* makeVariant(
        run,
        named,
        tasks.map(({ id }) => id),
        set,
        () => {}
      )
    }).pipe(Effect.provide(Layer.mergeAll(AugmentationPool.layer(1), Programs.layer)))
  )

describe("mmt rerun --set", () => {
  const small = () => join(home, "runs/small")
  const ofRun = () =>
    Object.fromEntries(Object.entries(contents(small())).filter(([path]) => !path.startsWith("reruns/")))

  it("makes a variant beside the run's own, says how it differs and what would change with it", async () => {
    const before = ofRun()
    const { code, out, err } = await mmt(home, "rerun", "runs/small", "cluster@1", "--set", "adapt.classes=4")
    expect(code, err).toBe(0)
    const lines = out.split("\n")
    expect(lines[0]).toMatch(/^cluster\/epoch-001 \([\d.]+ s\)$/)
    expect(lines[1]).toBe("  cluster.classes: 5 → 4")
    expect(lines[2]).toMatch(
      /^ {2}pseudo-labels: NMI [01]\.\d{3}, \d+ of 36 images moved; clusters 4, 5 before; outliers 0$/
    )
    expect(lines[3]).toMatch(/^ {2}centroids: rows 4, 5 before, of which \d differ, by /)
    expect(lines[5]).toBe("10 tasks of the run would change with it:")
    expect(lines[6]).toMatch(/^ {2}train\/epoch-001…002, embed\/epoch-002\/target-train, cluster\/epoch-002, /)
    expect(out).toMatch(/\nwritten to runs\/small\/reruns\/cluster-1,adapt\.classes=4\n$/)
    expect(ofRun()).toEqual(before)
    expect((await statesOf(small(), true)).done).toBe(24)
    const variant = await Effect.runPromise(openRun(join(small(), "reruns/cluster-1,adapt.classes=4")))
    const { key } = (await Effect.runPromise(openRun(small()))).tasks.get("cluster/epoch-001")!
    expect([...variant.tasks].map(([id, { derivedFrom }]) => [id, derivedFrom])).toEqual([
      ["cluster/epoch-001", { run: "../..", key, set: { "adapt.classes": 4 } }]
    ])
    expect(variant.config.adapt.classes).toBe(4)
  })

  it("gives the metrics of another evaluation", async () => {
    const { tasks, downstream } = await vary(small(), "evaluate@2", { key: "evaluate.rerank", value: true })
    expect(tasks.map(({ task }) => task)).toEqual(["evaluate/epoch-002/teacher-1", "evaluate/epoch-002/teacher-2"])
    expect(tasks[0]!.changes).toEqual(["evaluate.rerank: false → true"])
    const metrics = tasks[0]!.outputs.find(({ port }) => port === "metrics")!
    expect(metrics.metrics!.map(({ name }) => name)).toEqual(["mAP", "top-1", "top-5", "top-10", "queries"])
    expect(downstream).toEqual([])
  })

  it("refuses settings that change nothing in the task, and says what they would", async () => {
    await expect(vary(small(), "cluster@1", { key: "adapt.momentum", value: 0.5 })).rejects.toThrow(
      "cluster/epoch-001: the settings change nothing in it; they change train/epoch-001, train/epoch-002. Without --set it is run again as it was"
    )
    await expect(vary(small(), "cluster@2", { key: "adapt.epochs", value: 1 })).rejects.toThrow(
      "cluster/epoch-002: with these settings the run has no such task"
    )
    await expect(vary(small(), "cluster@1", { key: "adapt.clases", value: 4 })).rejects.toThrow(
      'run.yaml: unknown key "adapt.clases"'
    )
  })
})
