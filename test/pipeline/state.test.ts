/** When a task is done, stale, corrupt or missing, and what is said of it. */
import { mkdir, mkdtemp, rm, stat, utimes, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { Effect } from "effect"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { mmtLoss } from "#model/objective.ts"
import { keyOf, type StepRecord, sha256Of, type TaskRecord } from "#pipeline/manifest.ts"
import { digestsOf, isOfSettings, missingInput, stepRecords, taskState } from "#pipeline/state.ts"
import type { Source, Step, Task } from "#pipeline/task-plan.ts"

let run: string
beforeEach(async () => {
  run = await mkdtemp(join(tmpdir(), "mmt-state-"))
})
afterEach(() => rm(run, { recursive: true }))

const put = async (path: string, text: string) => {
  await mkdir(dirname(join(run, path)), { recursive: true })
  await writeFile(join(run, path), text)
}

const embedded: Source = { task: "embed/epoch-001/target-train", port: "embeddings" }

const clusterTask = (params: Step["params"] = { classes: 5, seed: 1 }): Task => ({
  id: "cluster/epoch-001",
  phase: "mmt",
  steps: [{ stage: "cluster", params, inputs: { embeddings: [embedded] } }]
})

const recordOf = async (steps: ReadonlyArray<StepRecord>, paths: ReadonlyArray<string>): Promise<TaskRecord> => {
  const files = await Promise.all(
    paths.map(async (path) => {
      const { size, mtimeMs } = await stat(join(run, path))
      return { path, rows: 1, bytes: size, sha256: await sha256Of(join(run, path)), modified: mtimeMs }
    })
  )
  return {
    key: keyOf(steps),
    steps,
    outputs: { out: { artifact: "centroids", columns: {}, files } },
    engine: "",
    finished: "",
    seconds: 1
  }
}

const input = (...digests: ReadonlyArray<string>) => ({
  steps: [],
  key: "",
  engine: "",
  finished: "",
  seconds: 1,
  outputs: {
    embeddings: {
      artifact: "embeddings",
      columns: {},
      files: digests.map((sha256) => ({ path: sha256, rows: 1, bytes: 1, sha256, modified: 0 }))
    }
  }
})
const digests = digestsOf(new Map([[embedded.task, input("d1")]]))

const steps = (task: Task, from = digests) => Effect.runPromise(stepRecords(task, from))
const state = (record: TaskRecord | undefined, now: ReadonlyArray<StepRecord>) =>
  Effect.runPromise(taskState(run, record, now))

describe("what a task is made by", () => {
  it("is its stages' versions, parameters with their defaults, and inputs' digests", async () => {
    expect(await steps(clusterTask())).toEqual([
      {
        stage: "cluster",
        version: expect.any(Number),
        params: {
          ...{ algorithm: "kmeans", classes: 5, tolerance: 1e-4, maxIterations: 300, seed: 1 },
          ...{ eps: 0.6, minSamples: 4, k1: 30, k2: 6, encoding: "openunreid", epsGap: 0 }
        },
        inputs: { embeddings: ["d1"] }
      }
    ])
  })

  it("waits for the first input that is not there", () => {
    expect(missingInput(clusterTask(), digests)).toBeUndefined()
    expect(missingInput(clusterTask(), digestsOf(new Map()))).toEqual(embedded)
  })

  it("is of a decoding also the images, by name, size and time, and not the place where they lie", async () => {
    const images = [
      "bounding_box_train/0002_c1s1_000451_03.jpg",
      "query/0001_c1s1_001051_00.jpg",
      "bounding_box_test/0001_c2s1_000301_01.jpg"
    ]
    for (const root of ["here", "there"])
      for (const image of images) {
        await put(join(root, image), "x")
        await utimes(join(run, root, image), 1, 1)
      }
    const decode = (root: string): Task => ({
      id: "decode/source-train",
      phase: "decode",
      steps: [{ stage: "decode", params: { split: "train" }, local: { root: join(run, root) }, inputs: {} }]
    })
    const key = async (root: string) => keyOf(await steps(decode(root)))
    const before = await key("here")
    expect(await key("there")).toBe(before)
    await put("here/query/0002_c1s1_001051_00.jpg", "of another split")
    expect(await key("here")).toBe(before)
    await utimes(join(run, "here", images[0]!), 2, 2)
    expect(await key("here")).not.toBe(before)
    await put("there/bounding_box_train/0003_c1s1_000451_03.jpg", "x")
    expect(await key("there")).not.toBe(before)
  })
})

describe("a task", () => {
  it("is missing without a record", async () => {
    expect(await state(undefined, await steps(clusterTask()))).toEqual({ state: "missing" })
  })

  it("is done with the same key and its files", async () => {
    await put("a.arrow", "bytes")
    const now = await steps(clusterTask())
    const record = await recordOf(now, ["a.arrow"])
    expect(await state(record, now)).toEqual({ state: "done", record })
  })

  it.each<
    readonly [what: string, was: (step: StepRecord) => ReadonlyArray<StepRecord>, reasons: ReadonlyArray<string>]
  >([
    [
      "a parameter was another",
      (step) => [{ ...step, params: { ...step.params, classes: 500 } }],
      ["cluster.classes: 500 → 5"]
    ],
    ["a parameter went", (step) => [{ ...step, params: { ...step.params, old: [1] } }], ["cluster.old: [1] → none"]],
    ["the stage has another version", (step) => [{ ...step, version: 0 }], ["stage cluster: version 0 → 1"]],
    [
      "an input has changed",
      (step) => [{ ...step, inputs: { embeddings: ["d0"] } }],
      ["input embeddings of cluster has changed"]
    ],
    ["it was made by another stage", (step) => [{ ...step, stage: "embed" }], ["stage cluster is new in it"]],
    ["it was made by more stages", (step) => [step, step], ["it has fewer stages now"]],
    [
      "all of it",
      (step) => [{ ...step, version: 0, params: { ...step.params, seed: 2 }, inputs: {} }],
      ["stage cluster: version 0 → 1", "cluster.seed: 2 → 1", "input embeddings of cluster has changed"]
    ]
  ])("is stale when %s", async (_, was, reasons) => {
    const now = await steps(clusterTask())
    expect(await state(await recordOf(was(now[0]!), []), now)).toEqual({ state: "stale", reasons })
  })

  it("is done with a record from before a parameter came, if it has its default now", async () => {
    await put("a.arrow", "bytes")
    const [step] = await steps(clusterTask())
    const { seed: _, ...params } = step!.params
    const record = await recordOf([{ ...step!, params }], ["a.arrow"])
    expect(await state(record, await steps(clusterTask()))).toEqual({ state: "done", record })
    expect(await state(record, await steps(clusterTask({ classes: 5, seed: 2 })))).toEqual({
      state: "stale",
      reasons: ["cluster.seed: 1 → 2"]
    })
  })

  it("is done with a record from before a nested parameter came", async () => {
    const { softLabels: _, ...loss } = mmtLoss
    const train: Task = {
      id: "train/epoch-001",
      phase: "mmt",
      steps: [{ stage: "train-step", params: {}, inputs: {} }]
    }
    const now = await steps(train)
    const record = await recordOf([{ ...now[0]!, params: { ...now[0]!.params, loss } }], [])
    expect((await state(record, now)).state).toBe("done")
  })

  it("is not blamed for parameters whose keys come in another order", async () => {
    const [{ params: defaults }] = (await steps(clusterTask())) as [StepRecord]
    const of = (
      order: (entries: Array<[string, unknown]>) => Array<[string, unknown]>,
      classes: number
    ): StepRecord => ({
      stage: "cluster",
      version: 1,
      params: { ...defaults, classes, nested: Object.fromEntries(order(Object.entries({ a: 1, b: 2 }))) },
      inputs: {}
    })
    const record = await recordOf([of((entries) => entries.reverse(), 4)], [])
    expect(await state(record, [of((entries) => entries, 5)])).toEqual({
      state: "stale",
      reasons: ["cluster.classes: 4 → 5"]
    })
  })

  it("is corrupt when files are missing, cut off or changed, and done when they are only touched", async () => {
    const now = await steps(clusterTask())
    const paths = ["t/gone.arrow", "t/short.arrow", "t/other.arrow", "t/touched.arrow"]
    for (const path of paths) await put(path, "bytes")
    const record = await recordOf(now, paths)
    await utimes(join(run, "t/touched.arrow"), 1, 1)
    expect((await state(record, now)).state).toBe("done")
    await rm(join(run, "t/gone.arrow"))
    await put("t/short.arrow", "by")
    await put("t/other.arrow", "setyb")
    await utimes(join(run, "t/other.arrow"), 1, 1)
    expect(await state(record, now)).toEqual({
      state: "corrupt",
      record,
      reasons: ["t/gone.arrow is missing", "t/short.arrow has 2 bytes, 5 were written", "t/other.arrow was changed"]
    })
  })
})

describe("a record for reading results", () => {
  const isCurrent = async (was: Partial<StepRecord>, from = digests) => {
    const [step] = await steps(clusterTask())
    const record = await recordOf([{ ...step!, ...was }], [])
    return Effect.runPromise(isOfSettings(clusterTask(), record, from))
  }

  it("is of a task's settings by stage, parameters and inputs", async () => {
    expect(await isCurrent({})).toBe(true)
    expect(await isCurrent({ stage: "embed" })).toBe(false)
    expect(await isCurrent({ params: { classes: 6 } })).toBe(false)
    expect(await isCurrent({ inputs: { embeddings: ["d0"] } })).toBe(false)
    expect(await isCurrent({}, digestsOf(new Map()))).toBe(false)
  })

  it("may be of an older version, without parameters that have come since", async () => {
    expect(await isCurrent({ version: 0, params: { classes: 5, gone: true } })).toBe(true)
    expect(await isCurrent({ params: { classes: 5, seed: 2 } })).toBe(false)
  })
})
