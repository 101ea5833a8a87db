/** Executes a run: task by task by its plan, skipping what is done, and keeping the manifest and the events. */
import { readdir, rm } from "node:fs/promises"
import { join, relative, resolve } from "node:path"
import type { RecordBatch } from "apache-arrow"
import { Effect, Layer } from "effect"
import { AugmentationPool } from "#data/augmentation-pool.ts"
import { openDataset } from "#data/dataset.ts"
import { makeFolder } from "#data/make-folder.ts"
import { tensorflowVersion } from "#engine/layout.ts"
import { Programs } from "#engine/programs.ts"
import { EngineThreads } from "#engine/session.ts"
import { WriteFailed } from "#pipeline/arrow-file.ts"
import { keepEvent, type RunEvent, RunListener, type TrainingStep } from "#pipeline/events.ts"
import {
  keyOf,
  type OutputRecord,
  readManifest,
  type StepRecord,
  type TaskRecord,
  writeManifest,
  writeWhole
} from "#pipeline/manifest.ts"
import { planTasks } from "#pipeline/plan.ts"
import { isPretrained } from "#pipeline/pretraining-plan.ts"
import { progressWriter } from "#pipeline/progress-file.ts"
import { removeInterim } from "#pipeline/resume-point.ts"
import { keptRunFile, type RunConfig } from "#pipeline/run-file.ts"
import { isAlive, lockRun } from "#pipeline/run-lock.ts"
import { scoresOf } from "#pipeline/score.ts"
import { ProgressListener } from "#pipeline/stage.ts"
import { checkStartingWeights } from "#pipeline/starting-weights.ts"
import { digestsOf, reasonsOf, stepRecords, type TaskState, taskState } from "#pipeline/state.ts"
import { runTask, type TaskOutput, type TaskSettings } from "#pipeline/task.ts"
import type { Task } from "#pipeline/task-plan.ts"
import { viewOf } from "#schemas/artifact.ts"
import { trainMetrics } from "#schemas/train-metrics.ts"

const whyOf = (state: TaskState) => reasonsOf(state).join("; ") || state.state

const sum = (values: ReadonlyArray<number>) => values.reduce((a, b) => a + b, 0)

const trainingOf = (steps: ReadonlyArray<number>, waits: ReadonlyArray<number>) => {
  if (steps.length === 0) return {}
  const [stepping, waiting] = [sum(steps), sum(waits)]
  const training = {
    steps: steps.length,
    stepMillis: stepping / steps.length,
    waitingShare: waiting / (stepping + waiting)
  }
  return { training }
}

/** What a row of `train-metrics` says of its step, which waited so long for its batch. */
const stepOf = (row: RecordBatch, waitMillis: number): TrainingStep & { readonly iteration: number } => {
  const { iteration, learningRate, millis } = viewOf(trainMetrics, row)
  const terms = row.schema.names.map(String).filter((name) => !(name in trainMetrics.columns))
  const losses = Object.fromEntries(terms.map((name) => [name, Number(row.getChild(name)?.get(0))]))
  return { iteration: iteration[0]!, losses, learningRate: learningRate[0]!, stepMillis: millis[0]!, waitMillis }
}

/** Outputs as the manifest has them: their files as seen from the run's folder. */
const recorded = (outputs: Readonly<Record<string, TaskOutput>>, folder: string) =>
  Object.fromEntries(
    Object.entries(outputs).map(([port, { artifact, columns, files }]) => [
      port,
      { artifact, columns, files: files.map(({ file, ...rest }) => ({ path: relative(folder, file), ...rest })) }
    ])
  )

/** The files of an output port of a task, as it is made from them. */
export type InputFiles = (task: string, port: string) => ReadonlyArray<{ readonly file: string; readonly rows: number }>

/** The files of tasks that are done, of a run's folder. */
export const filesIn =
  (folder: string, done: ReadonlyMap<string, TaskRecord>): InputFiles =>
  (task, port) =>
    (done.get(task)?.outputs[port]?.files ?? []).map(({ path, rows }) => ({ file: join(folder, path), rows }))

/** Makes one task and gives its record; its progress goes to `tell`. */
export const makeTask = (
  task: Task,
  steps: ReadonlyArray<StepRecord>,
  folder: string,
  { audit, train }: Pick<RunConfig, "audit" | "train">,
  inputs: InputFiles,
  tell: (event: RunEvent) => void
) =>
  Effect.gen(function* () {
    const { id, phase } = task
    const started = performance.now()
    const { intraOpThreads, interOpThreads } = yield* EngineThreads
    const total = Number(steps[0]!.params.iterations ?? 0)
    const images = task.steps.flatMap((step) => step.inputs.images ?? [])
    const imageRows = sum(images.flatMap((source) => inputs(source.task, source.port)).map(({ rows }) => rows))
    const onStep: TaskSettings["onStep"] = (row, waits) => {
      const { iteration, ...step } = stepOf(row, waits.at(-1) ?? 0)
      const loss = (step.losses.total ?? Number.NaN).toFixed(3)
      const note = `loss ${loss}, ${Math.round(step.stepMillis)} ms a step, waited ${Math.round(step.waitMillis)} ms`
      tell({ type: "progress", task: id, phase, done: iteration + 1, total, note, step })
    }
    const files = (source: string, port: string) => inputs(source, port).map(({ file }) => file)
    const settings: TaskSettings = {
      run: folder,
      key: keyOf(steps),
      audit,
      checkpointEvery: train.checkpointEvery,
      onStep,
      notice: (text) => tell({ type: "notice", text })
    }
    const { outputs, taps, stepMillis, waitMillis } = yield* runTask(task, files, settings).pipe(
      Effect.provideService(ProgressListener, ({ done, total, note = "" }) =>
        tell({ type: "progress", task: id, phase, done, total: total || imageRows, note })
      )
    )
    const seconds = (performance.now() - started) / 1000
    const scored = outputs.metrics?.files[0]?.file
    const scores = scored === undefined ? {} : { scores: yield* scoresOf(scored) }
    const times = stepMillis.length > 0 ? { stepMillis, waitMillis } : {}
    tell({ type: "task-done", task: id, phase, seconds, ...times, ...scores })
    return {
      key: settings.key,
      steps,
      outputs: recorded(outputs, folder),
      ...(Object.keys(taps).length > 0 ? { taps: recorded(taps, folder) } : {}),
      engine: `tensorflow ${tensorflowVersion}, threads an op: ${intraOpThreads}, ops at a time: ${interOpThreads}`,
      finished: new Date().toISOString(),
      seconds,
      ...trainingOf(stepMillis, waitMillis)
    } satisfies TaskRecord
  })

/** Removes files of a task's earlier result that its new one does not have. */
const removeLeftovers = (folder: string, was: TaskRecord | undefined, now: TaskRecord) => {
  const paths = (record: TaskRecord) =>
    [record.outputs, record.taps ?? {}]
      .flatMap(Object.values<OutputRecord>)
      .flatMap(({ files }) => files.map(({ path }) => path))
  const kept = new Set(paths(now))
  const left = was ? paths(was).filter((path) => !kept.has(path)) : []
  return Effect.promise(() => Promise.all(left.map((path) => rm(join(folder, path), { force: true }))))
}

/** Removes what a process that was killed left half-written: files named `….PID.partial`. */
const removePartials = (folder: string) =>
  Effect.promise(async () => {
    for (const path of await readdir(folder, { recursive: true })) {
      const pid = /\.(\d+)\.partial$/.exec(path)?.[1]
      if (pid !== undefined && !isAlive(Number(pid))) await rm(join(folder, path), { force: true })
    }
  })

/** A file that `tell` could not write is a failure like any other. */
const writeFailures = Effect.catchDefect((defect: unknown) =>
  defect instanceof WriteFailed ? Effect.fail(defect) : Effect.die(defect)
)

/** Reads the folders of the data sets that are used, so that what is wrong with one shows before anything is made. */
const openDatasets = (run: RunConfig) => {
  const { data, folder } = run
  const used = isPretrained(run) ? [data.source!, data.target] : [data.target]
  return Effect.forEach(used, ({ format, root, ...options }) => openDataset(format, resolve(folder, root), options), {
    discard: true
  })
}

/**
 * Runs all that is not done yet. What fails leaves every finished task as it is, so that the same call goes on from
 * there. The run file is kept as `run.yaml`. Fails where another process runs in the folder.
 */
export const executeRun = Effect.fn("executeRun")(
  function* (config: RunConfig, folder: string, threads: number) {
    const started = performance.now()
    const listener = yield* RunListener
    yield* Effect.tryPromise({ try: () => makeFolder(folder), catch: WriteFailed.of(folder) })
    const progress = progressWriter(folder)
    const tell = (event: RunEvent) => {
      const line = keepEvent(join(folder, "events.jsonl"), event)
      progress.listen(event)
      listener(event, line)
    }
    yield* lockRun(folder, (text) => tell({ type: "notice", text }))
    yield* Effect.addFinalizer(() => Effect.sync(progress.end))
    const manifest = yield* readManifest(folder)
    const tasks = planTasks(config)
    yield* openDatasets(config)
    const weights = yield* checkStartingWeights(config)
    yield* removePartials(folder)
    yield* writeWhole(join(folder, "run.yaml"), keptRunFile(config, folder))
    const done = new Map<string, TaskRecord>()
    const runAll = Effect.forEach(
      tasks,
      (task) =>
        Effect.gen(function* () {
          const { id, phase } = task
          const steps = yield* stepRecords(task, digestsOf(done))
          const record = manifest.get(id)
          const state = yield* taskState(folder, record, steps)
          if (state.state === "done") {
            tell({ type: "task-skipped", task: id, phase })
            yield* removeInterim(folder, id)
            return done.set(id, state.record)
          }
          tell({ type: "task-started", task: id, phase, why: whyOf(state) })
          const made = yield* makeTask(task, steps, folder, config, filesIn(folder, done), tell).pipe(
            Effect.tapError((error) =>
              Effect.sync(() => tell({ type: "task-failed", task: id, phase, problem: error.message }))
            )
          )
          done.set(id, made)
          manifest.set(id, made)
          yield* writeManifest(folder, manifest)
          yield* removeLeftovers(folder, record, made)
          yield* removeInterim(folder, id)
          return done
        }),
      { discard: true }
    )
    tell({ type: "run-started", run: config.name, tasks: tasks.length, done: manifest.size })
    for (const event of weights) tell(event)
    const { intraOpThreads, interOpThreads } = yield* EngineThreads
    const engineThreads = {
      intraOpThreads: config.engine.threadsPerOp ?? intraOpThreads,
      interOpThreads: config.engine.opsAtOnce ?? interOpThreads
    }
    yield* runAll.pipe(
      Effect.provide(Layer.mergeAll(AugmentationPool.layer(threads), Programs.layer)),
      Effect.provideService(EngineThreads, engineThreads)
    )
    tell({ type: "run-done", run: config.name, seconds: (performance.now() - started) / 1000 })
  },
  Effect.scoped,
  writeFailures
)
