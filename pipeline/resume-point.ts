/**
 * Resume points of a task that trains: every so many iterations all that its training has come to is kept (networks,
 * optimizer, the rows it has reported), so that a run that was broken off goes on within the epoch.
 */
import { readdir, readFile, rm } from "node:fs/promises"
import { basename, join } from "node:path"
import type { RecordBatch } from "apache-arrow"
import { Effect, Option, Result, Schema, Stream } from "effect"
import { Networks } from "#model/networks.ts"
import { readBatches, type WriteFailed, writeBatches } from "#pipeline/arrow-file.ts"
import { ArtifactFile, fileProblem, writeWhole } from "#pipeline/manifest.ts"
import type { Task } from "#pipeline/task-plan.ts"
import { viewOf } from "#schemas/artifact.ts"
import { checkpoint } from "#schemas/checkpoint.ts"
import { teacherUpdates } from "#schemas/teacher-updates.ts"
import { joinedRows, trainMetrics } from "#schemas/train-metrics.ts"
import { updatesBatch } from "#stages/ema-update.ts"

const kinds = { checkpoint, "train-metrics": trainMetrics, "teacher-updates": teacherUpdates } as const

const Point = Schema.Struct({
  /** The task's key: a point of other settings or inputs is none. */
  key: Schema.String,
  /** The iteration with which the training goes on. */
  iteration: Schema.Int,
  waitMillis: Schema.Array(Schema.Finite),
  files: Schema.Record(Schema.String, ArtifactFile)
})
type Point = typeof Point.Type

/** Where a task's resume point lies, below the run's folder. */
export const resumeFolder = (task: string) => join(task, "resume")

const pointFile = (folder: string) => join(folder, "point.json")

/** A point is no longer what was kept; the epoch starts over then. */
class ResumePointUnusable extends Schema.TaggedError<ResumePointUnusable>()("ResumePointUnusable", {
  problem: Schema.String
}) {
  override get message() {
    return this.problem
  }
}

const readPoint = (folder: string) =>
  Effect.promise(() => readFile(pointFile(folder), "utf8").catch(() => "")).pipe(
    Effect.map(Schema.decodeUnknownOption(Schema.fromJsonString(Point))),
    Effect.map(Option.getOrUndefined)
  )

/** What is wrong with a point's files, if anything; no time of change is believed. */
const problemOf = (folder: string, { files }: Point) =>
  Effect.promise(async () => {
    for (const file of Object.values(files)) {
      const problem = await fileProblem(folder, { ...file, modified: Number.NaN })
      if (problem !== undefined) return problem
    }
    return undefined
  })

const rowsOf = (folder: string, { files }: Point, kind: keyof typeof kinds) => {
  const file = files[kind]
  return file ? Stream.runCollect(readBatches(kinds[kind], join(folder, file.path))) : Effect.succeed([])
}

/** Puts what a point holds into the session, or leaves that as it is and fails; gives the rows that the training had reported. */
const restore = (folder: string, point: Point) =>
  Effect.gen(function* () {
    const damage = yield* problemOf(folder, point)
    if (damage !== undefined) return yield* new ResumePointUnusable({ problem: damage })
    const networks = yield* Networks
    const metrics = yield* rowsOf(folder, point, "train-metrics")
    const updates = yield* rowsOf(folder, point, "teacher-updates")
    yield* networks.load(yield* rowsOf(folder, point, "checkpoint"), folder)
    for (const batch of updates) {
      const { update, alpha, studentSums } = viewOf(teacherUpdates, batch)
      const width = studentSums.length / update.length
      for (const [row, number] of update.entries()) {
        const sums = studentSums.slice(row * width, (row + 1) * width)
        networks.teacherUpdates.push({ update: number, alpha: alpha[row]!, sums })
      }
    }
    return metrics
  }).pipe(Effect.mapError(({ message }) => new ResumePointUnusable({ problem: message })))

/** The task as it goes on with an iteration: its networks are in the session, its first batches are passed over. */
const goingOn = (task: Task, iteration: number): Task => ({
  ...task,
  steps: task.steps.map((step) => {
    if (step.stage === "augment") return { ...step, params: { ...step.params, firstIteration: iteration } }
    if (step.stage !== "train-step") return step
    const optimizer = step.params.optimizer === "continued" ? "continued" : "resumed"
    return { ...step, params: { ...step.params, optimizer }, inputs: {} }
  })
})

export interface ResumeSettings {
  /** The run's folder. */
  readonly run: string
  /** The task's key. */
  readonly key: string
  /** Iterations between two points; 0 for none. */
  readonly every: number
  readonly notice: (text: string) => void
  /** How long the training waited for each batch, which is added to. */
  readonly waits: Array<number>
}

/**
 * Looks for a task's resume point and restores it, where there is one of its key that is whole. Gives the task as it goes on, the
 * rows of train-metrics until then and all that will follow, and what keeps the points to come.
 */
export const openResumePoints = Effect.fn("openResumePoints")(function* (
  task: Task,
  { run, key, every, notice, waits }: ResumeSettings
) {
  const folder = join(run, resumeFolder(task.id))
  const total = Number(task.steps[0]!.params.iterations)
  const networks = yield* Networks
  const trained = task.steps.find(({ stage }) => stage === "train-step")?.params.students as ReadonlyArray<string>
  const rows: Array<RecordBatch> = []
  let from = 0
  const point = yield* readPoint(folder)
  if (point?.key === key) {
    const restored = yield* Effect.result(restore(folder, point))
    if (Result.isSuccess(restored)) {
      rows.push(...restored.success)
      waits.push(...point.waitMillis)
      from = point.iteration
      notice(`${task.id}: goes on with iteration ${from} of ${total}`)
    } else notice(`${task.id}: the epoch starts over, as its resume point cannot be used: ${restored.failure.message}`)
  }

  const write = (kind: keyof typeof kinds, iteration: number, batches: ReadonlyArray<RecordBatch>) =>
    Effect.map(
      writeBatches(
        () => join(folder, `${kind}-${String(iteration).padStart(6, "0")}.arrow`),
        Number.POSITIVE_INFINITY,
        Stream.fromIterable(batches)
      ),
      (written) => written.map(({ file, ...rest }) => [kind, { path: basename(file), ...rest }] as const)
    )

  const save = (iteration: number) =>
    Effect.gen(function* () {
      const updates = networks.teacherUpdates
      const students = updates.length > 0 ? yield* Effect.orDie(Effect.forEach(trained, networks.get)) : []
      const written = [
        ...(yield* write("checkpoint", iteration, [networks.save({ optimizer: true })])),
        ...(yield* write("train-metrics", iteration, [joinedRows(rows)])),
        ...(updates.length > 0 ? yield* write("teacher-updates", iteration, [updatesBatch(updates, students)]) : [])
      ]
      const files = Object.fromEntries(written)
      const next: Point = { key, iteration, waitMillis: waits.slice(0, iteration), files }
      yield* writeWhole(pointFile(folder), JSON.stringify(next))
      const kept = new Set(["point.json", ...Object.values(files).map(({ path }) => path)])
      yield* Effect.promise(async () => {
        for (const name of await readdir(folder)) if (!kept.has(name)) await rm(join(folder, name), { force: true })
      })
    })

  /** To be told of each row of train-metrics, once the iteration is done with. */
  const after = (row: RecordBatch): Effect.Effect<void, WriteFailed> =>
    Effect.suspend(() => {
      rows.push(row)
      const iteration = viewOf(trainMetrics, row).iteration[0]! + 1
      return every > 0 && iteration % every === 0 && iteration < total ? save(iteration) : Effect.void
    })

  return { task: from > 0 ? goingOn(task, from) : task, rows, after }
})

/** The file of a batch at which a task's training failed, below the run's folder. */
export const failedBatchFile = (task: string) => join(task, "failed-batch.arrow")

/** Removes what is left of the way of a task that is done: its resume point, and the batch at which it failed before. */
export const removeInterim = (run: string, task: string) =>
  Effect.promise(async () => {
    for (const path of [resumeFolder(task), failedBatchFile(task)])
      await rm(join(run, path), { recursive: true, force: true })
  })
