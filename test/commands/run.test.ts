/** A whole run and what can be done with it: run it again, change it, score it, show its files, run its stages alone. */
import { spawnSync } from "node:child_process"
import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type Table, tableFromIPC } from "apache-arrow"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { columnError } from "#schemas/artifact.ts"
import { artifacts } from "#schemas/artifacts.ts"
import {
  baseline,
  changeTimes,
  digests,
  drawPair,
  type Ended,
  events,
  filesBelow,
  mmt,
  partials,
  repository,
  sha256,
  start,
  startedTasks,
  tinyRun,
  writeRunFile
} from "./mmt.ts"

// Whole runs in processes of their own, on a machine that may be busy.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 })

let home: string
let first: Ended
const run = () => join(home, "runs/tiny")

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "mmt-run-"))
  await drawPair(home)
  writeRunFile(home, tinyRun + baseline)
  first = await mmt(home, "run", "tiny.yaml", "--threads", "1")
})

afterAll(() => rmSync(home, { recursive: true, force: true }))

const tableOf = (file: string): Table => tableFromIPC(readFileSync(file))

interface Manifest {
  readonly tasks: Record<string, { steps: ReadonlyArray<{ stage: string; params: Record<string, unknown> }> }>
}

/** `--set` for every parameter that a stage of a task had. */
const settings = (task: string, stage: string): ReadonlyArray<string> => {
  const { tasks } = JSON.parse(readFileSync(join(run(), "manifest.json"), "utf8")) as Manifest
  const step = tasks[task]!.steps.find((one) => one.stage === stage)!
  return Object.entries(step.params).flatMap(([key, value]) => ["--set", `${key}=${JSON.stringify(value)}`])
}

describe("mmt run", () => {
  it("ends well and prints the table", () => {
    expect(first.code, first.err).toBe(0)
    const rows = first.out.split("\n").filter((line) => /\d/.test(line))
    expect(first.out).toMatch(/^\ntarget test, % +mAP +top-1 +top-5 +top-10\n/)
    for (const name of ["source-only", "baseline, epoch 1", "mmt, epoch 2"])
      expect(rows.some((line) => line.startsWith(name))).toBe(true)
    expect(first.out).toMatch(/\nmAP after epoch +1 +2\nbaseline +[\d.]+ +–\nmmt +[\d.]+ +[\d.]+\n/)
    expect(first.out).toContain("seed 5; run folder: runs/tiny\n")
    expect(first.err).toMatch(/tiny: all 41 tasks done, \d+ s\n$/)
    expect(first.err).not.toMatch(/warning|tensorflow|oneDNN/i)
  })

  it("keeps the scores of each evaluation in its events", () => {
    const done = readFileSync(join(run(), "events.jsonl"), "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { type: string; task?: string; scores?: Record<string, number> })
      .filter(({ type, task }) => type === "task-done" && task!.includes("evaluate/"))
    expect(done.length).toBe(8)
    for (const { task, scores } of done) {
      const rows = tableOf(join(run(), task!, "metrics.arrow")).toArray() as ReadonlyArray<{
        name: string
        value: number
      }>
      expect(scores).toEqual(
        Object.fromEntries(rows.map(({ name, value }) => [name, name === "queries" ? value : 100 * value]))
      )
    }
  })

  it("prints its events with --json, the lines that it keeps, and nothing but results with --quiet", async () => {
    const file = join(run(), "events.jsonl")
    const before = readFileSync(file, "utf8")
    const told = await mmt(home, "run", "tiny.yaml", "--json")
    expect([told.code, told.err]).toEqual([0, ""])
    expect(told.out).toBe(readFileSync(file, "utf8").slice(before.length))
    expect(told.out.split("\n").length).toBe(3)
    const quiet = await mmt(home, "run", "tiny.yaml", "--quiet")
    expect([quiet.code, quiet.err]).toEqual([0, ""])
    expect(quiet.out).toBe(first.out.replace(/tiny: .*/, ""))
    writeFileSync(file, before)
  })

  it("leaves the folder as the design draws it", () => {
    const both = ["epoch-001", "epoch-002"]
    const adaptation = (folder: string, network: string, epochs: ReadonlyArray<string>) =>
      epochs.flatMap((epoch) => [
        `${folder}embed/${epoch}/target-train/embeddings.arrow`,
        `${folder}cluster/${epoch}/pseudo-labels.arrow`,
        `${folder}cluster/${epoch}/centroids.arrow`,
        `${folder}train/${epoch}/train-metrics.arrow`,
        `${folder}train/${epoch}/checkpoint.arrow`,
        ...(network === "teacher" ? [`${folder}train/${epoch}/teacher-updates.arrow`] : []),
        ...[1, 2].flatMap((n) => evaluation(folder, epoch, `${network}-${n}`))
      ])
    const evaluation = (folder: string, epoch: string, network: string) => [
      ...["query", "gallery"].map((split) => `${folder}embed/${epoch}/${network}-${split}/embeddings.arrow`),
      ...["metrics", "ranking"].map((port) => `${folder}evaluate/${epoch}/${network}/${port}.arrow`)
    ]
    const expected = [
      "events.jsonl",
      "manifest.json",
      "run.yaml",
      ...["source-train", "target-train", "target-query", "target-gallery"].map((s) => `decode/${s}/part-00000.arrow`),
      ...["student-1", "student-2"].flatMap((student) =>
        both.flatMap((epoch) =>
          ["train-metrics", "checkpoint"].map((port) => `pretrain/${student}/${epoch}/${port}.arrow`)
        )
      ),
      ...[1, 2].flatMap((n) => evaluation("", "source-only", `student-${n}`)),
      ...adaptation("", "teacher", both),
      ...adaptation("baseline/", "student", ["epoch-001"])
    ]
    expect(filesBelow(run())).toEqual(expected.sort())
  })

  it("keeps a train-metrics row for each iteration, without times that would differ from run to run", () => {
    const table = tableOf(join(run(), "train/epoch-002/train-metrics.arrow"))
    expect([...table.getChild("epoch")!]).toEqual([2, 2, 2])
    expect([...table.getChild("iteration")!]).toEqual([0, 1, 2])
    expect([...table.getChild("millis")!]).toEqual([null, null, null])
    const losses = ["ce1", "tri1", "softCe1", "softTri1", "ce2", "tri2", "softCe2", "softTri2", "total"]
    expect(table.schema.names).toEqual(["epoch", "iteration", "learningRate", "millis", ...losses])
  })

  it("again skips everything and touches no artifact", async () => {
    const before = changeTimes(run())
    const { length } = events(run())
    const again = await mmt(home, "run", "tiny.yaml")
    expect(again.code).toBe(0)
    expect(changeTimes(run())).toEqual(before)
    const since = events(run()).slice(length)
    expect(since.map(({ type }) => type)).toEqual(["run-started", "run-done"])
    expect(again.out).toBe(first.out)
  })

  it("is the same from the run file that the run keeps", async () => {
    const { length } = startedTasks(run())
    const again = await mmt(home, "run", "runs/tiny/run.yaml", "--out", "runs/tiny")
    expect(again.code).toBe(0)
    expect(startedTasks(run())).toHaveLength(length)
  })

  it("gives the same bytes with another number of threads, in another folder", async () => {
    const other = ["--threads", "2", "--out", "two-threads", "--set", "variants={}"]
    const { code } = await mmt(home, "run", "tiny.yaml", ...other)
    expect(code).toBe(0)
    const own = Object.entries(digests(run())).filter(([path]) => !path.startsWith("baseline/"))
    expect(digests(join(home, "two-threads"))).toEqual(Object.fromEntries(own))
  })
})

describe("mmt plan", () => {
  it("says that all is done, and that nothing is in another folder", async () => {
    const [done, none] = await Promise.all([
      mmt(home, "plan", "tiny.yaml"),
      mmt(home, "plan", "tiny.yaml", "--out", "nowhere")
    ])
    expect(done.out).toMatch(/\n41 of 41 tasks done in runs\/tiny\n$/)
    expect(done.out).toMatch(/\npretrain\/student-1\/epoch-\* +augment → train-step +2 done\n/)
    expect(none.out).toMatch(/\n0 of 41 tasks done in nowhere\n$/)
    expect(none.out).toMatch(/\ntrain\/epoch-\* +augment → train-step → ema-update +2 missing\n/)
    expect(filesBelow(join(home, "nowhere"))).toEqual([])
  })

  it("keeps the epochs of a pre-training that is made longer, and redoes what starts from its end", async () => {
    const { out } = await mmt(home, "plan", "tiny.yaml", "--set", "pretrain.epochs=3")
    const lines = out.split("\n").map((line) => line.split(/ {2,}/))
    const state = (task: string) => lines.find(([id]) => id === task)!.slice(2)
    expect(state("decode/target-train")).toEqual(["done"])
    for (const student of ["student-1", "student-2"])
      expect(state(`pretrain/${student}/epoch-*`)).toEqual(["2 done, 1 missing"])
    expect(state("embed/source-only/student-1-query")).toEqual([
      "stale",
      "its input pretrain/student-1/epoch-003 is to be made first"
    ])
    expect(out).toMatch(/\n8 of 43 tasks done in runs\/tiny\n$/)
  })
})

describe("a changed parameter", () => {
  const changed = ["tiny.yaml", "--out", "changed", "--set", "adapt.classes=4", "--set", "variants={}"]
  const folder = () => join(home, "changed")
  const untouched = (path: string) => /^(decode|pretrain|baseline|(embed|evaluate)\/source-only)\//.test(path)
  const timesOf = (wanted: (path: string) => boolean) =>
    Object.fromEntries(Object.entries(changeTimes(folder())).filter(([path]) => wanted(path)))

  beforeAll(() => cpSync(run(), folder(), { recursive: true, preserveTimestamps: true }))

  it("is told by the plan, with what waits for it", async () => {
    const { out } = await mmt(home, "plan", ...changed, "--all")
    const lines = out.split("\n").map((line) => line.split(/ {2,}/))
    const state = (task: string) => {
      const [, , is, , why = ""] = lines.find(([id]) => id === task)!
      return `${is} ${why}`.trim()
    }
    expect(state("decode/target-train")).toBe("done")
    expect(state("pretrain/student-2/epoch-002")).toBe("done")
    expect(state("evaluate/source-only/student-1")).toBe("done")
    expect(state("embed/epoch-001/target-train")).toBe("done")
    expect(state("cluster/epoch-001")).toBe("stale cluster.classes: 5 → 4")
    expect(state("train/epoch-001")).toBe("stale its input cluster/epoch-001 is to be made first")
    expect(state("evaluate/epoch-002/teacher-2")).toBe(
      "stale its input embed/epoch-002/teacher-2-query is to be made first"
    )
    expect(out).toMatch(/\n15 of 32 tasks done in changed\n$/)
  })

  it("redoes clusters and what follows, and nothing else", async () => {
    const before = timesOf(untouched)
    const { length } = startedTasks(folder())
    const { code, err } = await mmt(home, "run", ...changed)
    expect(code, err).toBe(0)
    expect(timesOf(untouched)).toEqual(before)
    const redone = startedTasks(folder()).slice(length)
    expect(redone).toHaveLength(17)
    expect(redone[0]).toBe("cluster/epoch-001")
    expect(redone.filter((task) => /^(decode|pretrain|baseline)|source-only/.test(task))).toEqual([])
    expect(redone).not.toContain("embed/epoch-001/target-train")
    expect(tableOf(join(folder(), "cluster/epoch-002/centroids.arrow")).numRows).toBe(4)
  })

  it("makes a file anew that is missing or cut off, and what depends on it only if it comes out different", async () => {
    rmSync(join(folder(), "evaluate/epoch-001/teacher-1/metrics.arrow"))
    truncateSync(join(folder(), "cluster/epoch-002/centroids.arrow"), 100)
    const plan = await mmt(home, "plan", ...changed)
    expect(plan.out).toContain("evaluate/epoch-001/teacher-1/metrics.arrow is missing")
    expect(plan.out).toMatch(/cluster\/epoch-002\/centroids\.arrow has 100 bytes, \d+ were written/)
    const { length } = startedTasks(folder())
    expect((await mmt(home, "run", ...changed)).code).toBe(0)
    expect(startedTasks(folder()).slice(length)).toEqual(["evaluate/epoch-001/teacher-1", "cluster/epoch-002"])
  })

  it("is not scored before it is run", async () => {
    const file = join(folder(), "run.yaml")
    const other = join(home, "other")
    cpSync(folder(), other, { recursive: true })
    writeRunFile(other, readFileSync(file, "utf8").replace("classes: 4", "classes: 3"), "run.yaml")
    const { out, code } = await mmt(home, "score", "other", "--json")
    expect(code).toBe(0)
    expect((JSON.parse(out) as ReadonlyArray<{ name: string }>).map(({ name }) => name)).toEqual(["source-only"])
  })
})

describe("mmt score", () => {
  const metricsOf = (task: string) => {
    const table = tableOf(join(run(), task, "metrics.arrow"))
    return new Map([...table].map((row) => [String(row!.name), Number(row!.value)]))
  }

  it("prints as JSON the mean of the metrics of both networks, in percent", async () => {
    const { out, code } = await mmt(home, "score", "runs/tiny", "--json")
    expect(code).toBe(0)
    const rows = JSON.parse(out) as ReadonlyArray<Record<string, number | string>>
    expect(rows.map(({ name }) => name)).toEqual(["source-only", "baseline", "mmt"])
    const networks = [
      ["evaluate/source-only/student-1", "evaluate/source-only/student-2"],
      ["baseline/evaluate/epoch-001/student-1", "baseline/evaluate/epoch-001/student-2"],
      ["evaluate/epoch-002/teacher-1", "evaluate/epoch-002/teacher-2"]
    ] as const
    for (const [i, [one, two]] of networks.entries()) {
      const best = i > 0 ? ["best"] : []
      expect(Object.keys(rows[i]!)).toEqual(["name", "mAP", "top1", "top5", "top10", ...best])
      for (const [key, metric] of Object.entries({ mAP: "mAP", top1: "top-1", top5: "top-5", top10: "top-10" }))
        expect(rows[i]![key]).toBeCloseTo(50 * (metricsOf(one).get(metric)! + metricsOf(two).get(metric)!), 10)
    }
    expect(metricsOf(networks[0][0]).get("queries")).toBe(9)
  })

  it("finds the network with the highest mAP over all evaluated epochs, and where it lies", async () => {
    const { out } = await mmt(home, "score", "runs/tiny", "--json")
    const rows = JSON.parse(out) as ReadonlyArray<{ best?: Record<string, number | string> }>
    const evaluated = [1, 2].flatMap((epoch) => [1, 2].map((n) => [`epoch-00${epoch}`, `teacher-${n}`] as const))
    const scores = evaluated.map(([epoch, network]) => metricsOf(`evaluate/${epoch}/${network}`).get("mAP")!)
    const highest = scores.indexOf(Math.max(...scores))
    const [epoch, network] = evaluated[highest]!
    const checkpoint = `runs/tiny/train/${epoch}/checkpoint.arrow`
    expect(rows[2]!.best).toMatchObject({ epoch: Number(epoch.slice(-3)), network, checkpoint })
    expect(rows[2]!.best!.mAP).toBeCloseTo(100 * scores[highest]!, 10)
    const held = new Set([...tableOf(join(home, checkpoint)).getChild("network")!].map(String))
    expect(held).toContain(network)
    expect(first.out).toMatch(new RegExp(`\nmmt, epoch ${Number(epoch.slice(-3))}, ${network} .* ${checkpoint}\n`))
  })

  it("prints the same table as the run", async () => {
    expect((await mmt(home, "score", "runs/tiny")).out).toBe(first.out)
  })
})

describe("mmt show", () => {
  it("prints the columns, the metadata and the first rows", async () => {
    const file = "runs/tiny/cluster/epoch-001/pseudo-labels.arrow"
    const { out, code } = await mmt(home, "show", file, "--rows", "2")
    expect(code).toBe(0)
    const parts = out.trimEnd().split("\n\n")
    expect(parts.slice(0, 3)).toEqual([
      `${file}: 36 rows, pseudo-labels`,
      "  image  Utf8\n  label  Int32",
      "  classes = 5"
    ])
    expect(parts[3]!.split("\n")).toHaveLength(3)
    expect(parts[3]).toMatch(/^image +label\n/)
  })

  it("says which artifact a file is", async () => {
    const files = [
      ["decode/target-query/part-00000.arrow", "images"],
      ["evaluate/epoch-001/teacher-1/ranking.arrow", "ranking"]
    ] as const
    const shown = await Promise.all(files.map(([file]) => mmt(run(), "show", file)))
    for (const [i, [file, artifact]] of files.entries())
      expect(shown[i]!.out.split("\n")[0]).toMatch(new RegExp(`^${file}: [\\d,]+ rows, ${artifact}$`))
  })
})

describe("mmt stage", () => {
  const out = (name: string) => join(home, "alone", name)
  const stage = async (name: string, folder: string, ...args: ReadonlyArray<string>) => {
    const ended = await mmt(run(), "stage", "run", name, "--out", out(folder), ...args)
    expect(ended.code, ended.err).toBe(0)
    for (const path of filesBelow(out(folder))) {
      const artifact = artifacts.find(({ name: own }) => `${own}.arrow` === path)!
      expect(columnError(artifact, tableOf(join(out(folder), path)).schema, path)).toBeUndefined()
    }
    return filesBelow(out(folder))
  }
  const expectSame = (alone: string, own: string) => expect(sha256(out(alone))).toBe(sha256(join(run(), own)))

  it("list names all seven with their ports, columns and parameters", async () => {
    const { out: text, code } = await mmt(home, "stage", "list")
    expect(code).toBe(0)
    const names = [...text.matchAll(/^([a-z-]+) \(version \d+\): /gm)].map(([, name]) => name)
    expect(names).toEqual(["decode", "augment", "embed", "cluster", "train-step", "ema-update", "evaluate"])
    expect(text).toContain("in  initial-centroids (optional): ")
    expect(text).toContain("centroids: label int32, size int32, centroid fixed_size_list<float32>")
    expect(text).toContain("parameters: algorithm, classes, tolerance, maxIterations, seed")
  })

  it("run decode gives the run's own images", async () => {
    const params = settings("decode/target-query", "decode")
    const root = `root=${join(home, "pair/target")}`
    expect(await stage("decode", "decode", "--set", root, ...params)).toEqual(["images.arrow"])
    expectSame("decode/images.arrow", "decode/target-query/part-00000.arrow")
  })

  it("run augment and train-step give the run's own pre-trained network", async () => {
    const task = "pretrain/student-1/epoch-002"
    const images = "images=decode/source-train"
    expect(await stage("augment", "augment", "--in", images, ...settings(task, "augment"))).toEqual(["batches.arrow"])
    expect(tableOf(out("augment/batches.arrow")).batches.map(({ metadata }) => metadata.get("iteration"))).toEqual([
      "0",
      "1",
      "2"
    ])
    const before = "checkpoint=pretrain/student-1/epoch-001/checkpoint.arrow"
    const batches = `batches=${out("augment/batches.arrow")}`
    const params = settings(task, "train-step")
    const written = await stage("train-step", "pretrain", "--in", batches, "--in", before, ...params)
    expect(written).toEqual(["checkpoint.arrow", "train-metrics.arrow"])
    expectSame("pretrain/checkpoint.arrow", `${task}/checkpoint.arrow`)
    expect(Math.min(...tableOf(out("pretrain/train-metrics.arrow")).getChild("millis")!)).toBeGreaterThan(0)
  })

  it("run augment with pseudo labels, train-step with centroids, and ema-update train with teachers", async () => {
    const images = ["--in", "images=decode/target-train"]
    const labels = ["--in", "pseudo-labels=cluster/epoch-001/pseudo-labels.arrow"]
    await stage("augment", "views", ...images, ...labels, ...settings("train/epoch-001", "augment"))
    const table = tableOf(out("views/batches.arrow"))
    expect([...new Set(table.getChild("view")!)]).toEqual([0, 1])
    const students = [1, 2].flatMap((n) => ["--in", `checkpoint=pretrain/student-${n}/epoch-002/checkpoint.arrow`])
    const centroids = ["--in", "centroids=cluster/epoch-001/centroids.arrow"]
    const batches = ["--in", `batches=${out("views/batches.arrow")}`]
    const params = settings("train/epoch-001", "train-step")
    await stage("train-step", "train", ...batches, ...students, ...centroids, ...params)
    const trained = ["train-metrics", "checkpoint"].flatMap((port) => ["--in", `${port}=${out("train")}/${port}.arrow`])
    const written = await stage("ema-update", "ema", ...trained, ...settings("train/epoch-001", "ema-update"))
    expect(written).toEqual(["checkpoint.arrow", "teacher-updates.arrow", "train-metrics.arrow"])
    const networks = (file: string) => [...new Set(tableOf(file).getChild("network")!)]
    expect(networks(out("ema/checkpoint.arrow"))).toEqual(["student-1", "student-2", "teacher-1", "teacher-2"])
    expect(sha256(out("ema/checkpoint.arrow"))).not.toBe(sha256(out("train/checkpoint.arrow")))
  })

  it("run embed, cluster and evaluate give the run's own artifacts", async () => {
    const teacher = ["--in", "checkpoint=train/epoch-002/checkpoint.arrow"]
    const images = ["--in", "images=decode/target-gallery"]
    const embed = settings("embed/epoch-002/teacher-1-gallery", "embed")
    const embeddings = "embeddings=embed/epoch-002/target-train/embeddings.arrow"
    const embedded = (split: string) => ["--in", `${split}=embed/epoch-002/teacher-1-${split}/embeddings.arrow`]
    const evaluation = settings("evaluate/epoch-002/teacher-1", "evaluate")
    await Promise.all([
      stage("embed", "embed", ...images, ...teacher, ...embed),
      stage("cluster", "cluster", "--in", embeddings, ...settings("cluster/epoch-002", "cluster"))
    ])
    await stage("evaluate", "evaluate", ...embedded("query"), ...embedded("gallery"), ...evaluation)
    expectSame("embed/embeddings.arrow", "embed/epoch-002/teacher-1-gallery/embeddings.arrow")
    for (const port of ["pseudo-labels", "centroids"])
      expectSame(`cluster/${port}.arrow`, `cluster/epoch-002/${port}.arrow`)
    for (const port of ["metrics", "ranking"])
      expectSame(`evaluate/${port}.arrow`, `evaluate/epoch-002/teacher-1/${port}.arrow`)
  })

  it("run cluster starts from given centroids", async () => {
    const embeddings = ["--in", "embeddings=embed/epoch-002/target-train/embeddings.arrow"]
    const initial = ["--in", "initial-centroids=cluster/epoch-002/centroids.arrow"]
    await stage("cluster", "started", ...embeddings, ...initial, "--set", "classes=5", "--set", "seed=99")
    // k-means has converged there already, so that it stays where it starts.
    const labels = (file: string) => [...tableOf(file).getChild("label")!]
    expect(labels(out("started/pseudo-labels.arrow"))).toEqual(
      labels(join(run(), "cluster/epoch-002/pseudo-labels.arrow"))
    )
  })

  it("leaves nothing half-written", () => {
    expect(partials(home)).toEqual([])
  })
})

describe("the launcher", () => {
  const launch = (...args: ReadonlyArray<string>) =>
    start(process.execPath, [join(repository, "cli/launch.mjs"), ...args], home).ended

  it("runs mmt, without a word of its own", async () => {
    const [help, wrong] = await Promise.all([launch("--help"), launch("score", "nowhere")])
    expect(help.code).toBe(0)
    expect(help.err).toBe("")
    expect(help.out).toContain("Mutual Mean-Teaching")
    expect(wrong).toEqual({
      code: 1,
      out: "",
      err: "nowhere: is not a run's folder: it has no run.yaml\n"
    })
  })

  it("passes exit codes on", async () => {
    expect((await launch("frobnicate")).code).toBe(2)
  })
})

describe("pyarrow", () => {
  const python = [process.env.MMT_PYTHON || "python3", "python3"].find(
    (program) => spawnSync(program, ["-c", "import pyarrow"]).status === 0
  )
  if (python === undefined) console.warn("no python3 with pyarrow (MMT_PYTHON names one): its test is skipped")

  it.skipIf(python === undefined)("opens every artifact, with the pinned columns and metadata", async () => {
    const script = join(repository, "test/pyarrow/check_artifacts.py")
    const { code, err, out } = await start(python!, [script, run()], home).ended
    expect(err).toBe("")
    expect(code).toBe(0)
    expect(out).toContain("metrics: 8 files, 40 rows\n")
    expect(out).toContain("images: 4 files, 90 rows\n")
  })

  it.skipIf(python === undefined)("tells breaches", async () => {
    const broken = join(home, "broken")
    cpSync(run(), broken, { recursive: true })
    cpSync(join(run(), "evaluate/epoch-001/teacher-1/metrics.arrow"), join(broken, "cluster/epoch-001/centroids.arrow"))
    rmSync(join(broken, "evaluate/epoch-001/teacher-1/metrics.arrow"))
    const { code, err } = await start(python!, [join(repository, "test/pyarrow/check_artifacts.py"), broken], home)
      .ended
    expect(code).toBe(1)
    expect(err).toContain("cluster/epoch-001/centroids.arrow: column centroid is missing\n")
    expect(err).toContain("evaluate/epoch-001/teacher-1/metrics.arrow: it is not there\n")
  })
})

describe("mmt report", () => {
  const report = async (...args: ReadonlyArray<string>) => {
    const ended = await mmt(home, "report", ...args)
    expect(ended.code, ended.err).toBe(0)
    return ended.out
  }

  it("writes one page, which asks for nothing, with the run's scores", async () => {
    expect(await report("runs/tiny")).toMatch(/^wrote runs\/tiny\/report\.html: .*, \d+ s\n$/)
    const page = readFileSync(join(run(), "report.html"), "utf8")
    rmSync(join(run(), "report.html"))
    const scores = tableOf(join(run(), "evaluate/epoch-002/teacher-1/metrics.arrow"))
    const mAP = 100 * Number(scores.getChild("value")!.get([...scores.getChild("name")!].indexOf("mAP")))
    expect(page.includes(`<td>${mAP.toFixed(1)} / `), `mAP ${mAP} of teacher-1`).toBe(true)
    for (const part of ["scores", "training", "clusters", "map", "rankings", "stages", "run-file"])
      expect(page.includes(`<section id="${part}"`), part).toBe(true)
    expect(
      page.includes('http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;; img-src data:;')
    ).toBe(true)
    expect(page.match(/(?:src|href)="(?!data:|#)[^"]*"/g)).toBeNull()
  })

  it("shows several runs on one page, and one that is not done as far as it is", async () => {
    const half = join(home, "runs/half")
    cpSync(run(), half, { recursive: true })
    const manifest = JSON.parse(readFileSync(join(half, "manifest.json"), "utf8"))
    for (const id of Object.keys(manifest.tasks)) if (/epoch-002|source-only/.test(id)) delete manifest.tasks[id]
    writeRunFile(half, JSON.stringify(manifest), "manifest.json")
    await report("runs/tiny", "runs/half", "--out", "both.html")
    const page = readFileSync(join(home, "both.html"), "utf8")
    for (const label of ["tiny", "half"]) expect(page.includes(`<h3>${label}</h3>`), label).toBe(true)
    rmSync(half, { recursive: true })
  })

  it("writes its charts as SVG and CSV", async () => {
    expect(await report("runs/tiny", "--figures", "figures")).toMatch(/^wrote \d+ files to figures\n$/)
    const files = filesBelow(join(home, "figures"))
    for (const file of ["scores.csv", "map.svg", "map.csv", "rankings.svg"]) expect(files).toContain(file)
    for (const file of files.filter((name) => name.endsWith(".svg"))) {
      const svg = readFileSync(join(home, "figures", file), "utf8")
      expect(svg).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" |^<svg [^>]*xmlns="/)
      expect(svg).toMatch(/<(path|circle|rect|image)/)
    }
    const [head, ...lines] = readFileSync(join(home, "figures/scores.csv"), "utf8").trim().split("\n")
    const at = head!.split(",").indexOf("mAP")
    const row = lines.find((line) => line.startsWith("tiny,mmt,2,teacher-1,"))!
    const scores = tableOf(join(run(), "evaluate/epoch-002/teacher-1/metrics.arrow"))
    const mAP = Number(scores.getChild("value")!.get([...scores.getChild("name")!].indexOf("mAP")))
    expect(Number(row.split(",")[at])).toBeCloseTo(100 * mAP, 10)
  })

  it("says what is no run", async () => {
    const { code, err } = await mmt(home, "report", "pair")
    expect(code).toBe(1)
    expect(err).toContain("pair: is not a run's folder")
  })
})
