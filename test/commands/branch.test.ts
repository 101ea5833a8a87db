/** A branch of a run: what it shares, what it makes anew, and that the run it leaves keeps its bytes. */
import { cpSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { tableFromIPC } from "apache-arrow"
import { Effect, Layer } from "effect"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { auditRun } from "#audit/audit.ts"
import { diffRuns } from "#audit/difference.ts"
import { openRun } from "#audit/open-run.ts"
import { makeVariant } from "#audit/variant.ts"
import { readRun } from "#cli/run.ts"
import { AugmentationPool } from "#data/augmentation-pool.ts"
import { Programs } from "#engine/programs.ts"
import { branchOf, openBranch } from "#pipeline/branch.ts"
import { planTasks } from "#pipeline/plan.ts"
import { executeRun } from "#pipeline/run.ts"
import { readRunFile } from "#pipeline/run-file.ts"
import { planRun } from "#pipeline/run-state.ts"
import { scoreRun } from "#pipeline/score.ts"
import type { Override } from "#pipeline/settings.ts"
import { readRun as readReported } from "#report/run-data.ts"
import { makeSmallRun } from "../audit/small-run.ts"
import { changeTimes, digests, events, mmt, partials, startedTasks } from "./mmt.ts"

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

let home: string
let original: readonly [digests: object, times: object]
const at = (...path: ReadonlyArray<string>) => join(home, "runs", ...path)
const originalNow = () => [digests(at("small")), changeTimes(at("small"))]

beforeAll(async () => {
  home = await makeSmallRun()
  original = originalNow() as unknown as typeof original
})
afterAll(() => rmSync(home, { recursive: true, force: true }))

const run = async (...args: ReadonlyArray<string>) => {
  const ended = await mmt(home, "run", ...args, "--threads", "1")
  expect(ended.code, ended.err).toBe(0)
  return ended
}
const inode = (...path: ReadonlyArray<string>) => statSync(at(...path)).ino
const clusters = (folder: string, epoch: string) =>
  tableFromIPC(readFileSync(at(folder, `cluster/${epoch}/centroids.arrow`))).numRows

/** Makes a branch's folder, as `mmt run --from` does. */
const opened = (name: string, from: string, out: string, set: ReadonlyArray<Override>) =>
  Effect.gen(function* () {
    const { config } = yield* openRun(at(name))
    const own = yield* readRunFile(at(name, "run.yaml"), set)
    const branch = yield* branchOf({ folder: at(name), config }, own, from, at(out))
    return { branch, sharing: yield* openBranch({ folder: at(name), config }, branch, at(out)) }
  })

/** What `mmt run` does with a run's folder or run file, without a process of its own. */
const runInProcess = (file: string, ...set: ReadonlyArray<Override>) =>
  Effect.runPromise(Effect.flatMap(readRun(file, set), ({ config, folder }) => executeRun(config, folder, 1)))

/** A branch without a process of its own; how much it shares. */
const branchInProcess = (name: string, from: string, out: string, ...set: ReadonlyArray<Override>) =>
  Effect.runPromise(
    Effect.gen(function* () {
      const { branch, sharing } = yield* opened(name, from, out, set)
      yield* executeRun(branch, at(out), 1)
      return sharing
    })
  )

describe("mmt run --from", () => {
  const branch = ["runs/small", "--from", "cluster@2", "--set", "adapt.classes=4"]
  const folder = "small-from-cluster-2"

  it("makes anew what the new settings touch from there on, and shares the rest by links", async () => {
    const { out, err } = await run(...branch)
    expect(err).toMatch(/^runs\/small-from-cluster-2 shares 16 of its 24 tasks with runs\/small\n/)
    expect(out).toContain("run folder: runs/small-from-cluster-2\n")
    expect(startedTasks(at(folder))).toEqual([
      "cluster/epoch-002",
      "train/epoch-002",
      ...["1", "2"].flatMap((n) => [
        ...["query", "gallery"].map((split) => `embed/epoch-002/teacher-${n}-${split}`),
        `evaluate/epoch-002/teacher-${n}`
      ])
    ])
    expect([clusters(folder, "epoch-001"), clusters(folder, "epoch-002")]).toEqual([5, 4])
    for (const path of ["decode/target-train/part-00000.arrow", "train/epoch-001/tap/networks.arrow"])
      expect(inode(folder, path)).toBe(inode("small", path))
    expect(inode(folder, "cluster/epoch-002/centroids.arrow")).not.toBe(
      inode("small", "cluster/epoch-002/centroids.arrow")
    )
    expect(partials(at(folder))).toEqual([])
    expect(originalNow()).toEqual(original)
  })

  it("goes on by the same command, by its run file and by its folder, where nothing is left to do", async () => {
    const { length } = startedTasks(at(folder))
    const again = await run(...branch)
    expect(again.err).not.toContain("shares")
    await runInProcess(at(folder, "run.yaml"))
    // Where it would run by its folder.
    const { folder: own } = await Effect.runPromise(readRun(at(folder), []))
    expect(own).toBe(at(folder))
    expect(startedTasks(at(folder))).toHaveLength(length)
    expect(existsSync(at("small-from-cluster-2-from-cluster-2"))).toBe(false)
    expect(events(at(folder)).filter(({ type }) => type === "run-done")).toHaveLength(3)
  })

  it("is a run like any other for status, audit, score, diff and report", async () => {
    const [own, of] = await Promise.all([folder, "small"].map((name) => Effect.runPromise(openRun(at(name)))))
    const states = await Effect.runPromise(planRun(own!.config, own!.folder, { everyByte: true }))
    expect(states.filter(({ state }) => state.state !== "done")).toEqual([])
    const checks = await Effect.runPromise(
      auditRun(
        own!,
        () => () => {},
        () => {}
      )
    )
    expect(checks.filter(({ violationCount }) => violationCount > 0)).toEqual([])
    const rows = await Effect.runPromise(scoreRun(own!.config, own!.folder))
    expect(rows.map(({ name, epoch }) => [name, epoch])).toEqual([
      ["source-only", 0],
      ["mmt", 2]
    ])
    const { settings } = await Effect.runPromise(diffRuns(of!, own!))
    expect(settings).toEqual([
      { key: "name", a: "small", b: folder },
      { key: "adapt.classes", a: 5, b: 4 },
      { key: "branch", a: undefined, b: "cluster@2 of small" }
    ])
    expect((await Effect.runPromise(readReported(at(folder)))).records.size).toBe(24)
  })

  it("lives on when the run is gone: makes a shared file anew, and goes on by other settings", async () => {
    const shared = "cluster/epoch-001/centroids.arrow"
    rmSync(at(folder, shared))
    renameSync(at("small"), at("away"))
    const { length } = startedTasks(at(folder))
    await runInProcess(at(folder), { key: "adapt.classes", value: 3 })
    renameSync(at("away"), at("small"))
    expect(startedTasks(at(folder)).slice(length, length + 2)).toEqual(["cluster/epoch-001", "cluster/epoch-002"])
    expect([clusters(folder, "epoch-001"), clusters(folder, "epoch-002")]).toEqual([5, 3])
    expect(inode(folder, shared)).not.toBe(inode("small", shared))
    expect(originalNow()).toEqual(original)
  })

  it("from the first epoch gives the bytes of a run that had the settings from the start", async () => {
    cpSync(at("small"), at("from-the-start"), { recursive: true, preserveTimestamps: true })
    const momentum = { key: "adapt.momentum", value: 0.5 }
    await runInProcess(at("from-the-start"), momentum)
    await branchInProcess("small", "cluster@1", "early", momentum)
    expect(digests(at("early"))).toEqual(digests(at("from-the-start")))
    // The clusters are those of the run; only what the momentum touches is made.
    expect(startedTasks(at("early")).slice(0, 2)).toEqual(["cluster/epoch-001", "train/epoch-001"])
    expect(inode("early", "embed/epoch-001/target-train/embeddings.arrow")).toBe(
      inode("small", "embed/epoch-001/target-train/embeddings.arrow")
    )
    expect(originalNow()).toEqual(original)
  })

  it("without other settings makes the stage anew, and what comes of it only if that came out different", async () => {
    await branchInProcess("small", "train-step@2", "same")
    expect(startedTasks(at("same"))).toEqual(["train/epoch-002"])
    expect(digests(at("same"))).toEqual(digests(at("small")))
  })

  it("goes on with a run that is not finished, by that run's settings up to the point", async () => {
    cpSync(at("small"), at("part"), { recursive: true, preserveTimestamps: true })
    for (const gone of ["cluster/epoch-001", "train/epoch-002"]) rmSync(at("part", gone), { recursive: true })
    const sharing = await branchInProcess("part", "evaluate@2", "from-part", { key: "evaluate.ranks", value: [1] })
    expect(sharing).toEqual({ shared: 20, tasks: 24 })
    expect(startedTasks(at("from-part"))).toEqual([
      "cluster/epoch-001",
      "train/epoch-002",
      "evaluate/epoch-002/teacher-1",
      "evaluate/epoch-002/teacher-2"
    ])
    expect(existsSync(at("part/train/epoch-002"))).toBe(false)
  })

  it("may be of a branch, whose own past it keeps", async () => {
    await branchInProcess(folder, "evaluate@2", "nested", { key: "evaluate.ranks", value: [1] })
    expect(startedTasks(at("nested"))).toEqual(["evaluate/epoch-002/teacher-1", "evaluate/epoch-002/teacher-2"])
    expect([clusters("nested", "epoch-001"), clusters("nested", "epoch-002")]).toEqual([5, 3])
    const { branch } = (await Effect.runPromise(openRun(at("nested")))).config
    expect([branch!.from, branch!.before.branch!.from]).toEqual(["evaluate@2", "cluster@2"])
  })

  it("has mean teachers from a point on where the run had none, but not where they would cluster at once", async () => {
    const none = [
      { key: "adapt.meanTeachers", value: false },
      { key: "adapt.softIdentity", value: 0 },
      { key: "adapt.softTriplet", value: 0 }
    ]
    const teaching = [
      { key: "adapt.meanTeachers", value: true },
      { key: "adapt.softIdentity", value: 0.5 }
    ]
    await Effect.runPromise(opened("small", "embed@1", "students", none))
    await expect(Effect.runPromise(opened("students", "embed@2", "a", teaching))).rejects.toThrow(
      "--from embed@2: mmt has no mean teachers after epoch 1, so they cannot cluster in epoch 2: branch from cluster@2"
    )
    const { branch } = await Effect.runPromise(opened("students", "cluster@2", "taught", teaching))
    const train = planTasks(branch).find(({ id }) => id === "train/epoch-002")!
    expect(train.steps.map(({ stage }) => stage)).toEqual(["augment", "train-step", "ema-update"])
  })

  it.each([
    ["decode@1", [], "a", /^--from decode@1: expected a stage other than decode and an epoch, as cluster@3/],
    ["cluster", [], "a", /^--from cluster: expected a stage other than decode and an epoch/],
    [
      "cluster@9",
      [],
      "a",
      /^--from cluster@9: the run has no such task; of stage cluster it has mmt\/cluster@1 to mmt\/cluster@2$/
    ],
    [
      "cluster@2",
      [{ key: "pretrain.epochs", value: 9 }],
      "a",
      /^--from cluster@2: key "pretrain.epochs" acts before that, so it stays as the run has it$/
    ],
    ["cluster@2", [], "small", /^--from cluster@2: a branch has a folder of its own: .*runs\/small is the run's$/],
    ["cluster@1", [], "same", /same: holds another run; choose another folder for the branch/]
  ] as const)("refuses %s with %j in %s", async (from, set, out, message) => {
    await expect(Effect.runPromise(opened("small", from, out, set))).rejects.toThrow(message)
    expect(existsSync(at("a"))).toBe(false)
    expect(originalNow()).toEqual(original)
  })

  it("can be asked for variants of what it shares, by the settings of before its point", async () => {
    const variant = Effect.gen(function* () {
      const branched = yield* openRun(at(folder))
      const set = [{ key: "adapt.tolerance", value: 0.5 }]
      return yield* makeVariant(branched, "cluster@1", ["cluster/epoch-001"], set, () => {})
    }).pipe(Effect.provide(Layer.mergeAll(AugmentationPool.layer(1), Programs.layer)))
    const { tasks } = await Effect.runPromise(variant)
    expect(tasks[0]!.changes).toEqual(["cluster.tolerance: 0.0001 → 0.5"])
  })

  const memory = "/dev/shm"
  const otherDisk = existsSync(memory) && statSync(memory).dev !== statSync(tmpdir()).dev
  it.skipIf(!otherDisk)("says that it cannot link from one file system to another", async () => {
    const out = join(mkdtempSync(join(memory, "mmt-branch-")), "out")
    const { code, err } = await mmt(home, "run", "runs/small", "--from", "cluster@2", "--out", out)
    expect(code).toBe(1)
    expect(err).toMatch(
      /: cannot be a hard link to runs\/small\/.*: they are on two file systems\. A branch copies nothing/
    )
    rmSync(join(out, ".."), { recursive: true })
  })
})
