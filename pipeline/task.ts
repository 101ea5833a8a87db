/** Runs one task: its chain of stages from Arrow files to Arrow files, in an engine session of its own. */
import { join } from "node:path"
import type { RecordBatch } from "apache-arrow"
import { Effect, Layer, Stream } from "effect"
import { Session } from "#engine/session.ts"
import { Networks } from "#model/networks.ts"
import { inletOf, type WriteFailed, writeBatches } from "#pipeline/arrow-file.ts"
import { failedBatchFile, openResumePoints, type ResumeSettings } from "#pipeline/resume-point.ts"
import type { Audit } from "#pipeline/run-keys.ts"
import { type Inlet, type Port, UpstreamFailed } from "#pipeline/stage.ts"
import { type AnyStage, type StageError, type StageServices, stageOf } from "#pipeline/stages.ts"
import { wholeParams } from "#pipeline/state.ts"
import { openTap, type Tapped } from "#pipeline/tap.ts"
import type { Step, Task } from "#pipeline/task-plan.ts"
import { trainMetrics, withoutTimes } from "#schemas/train-metrics.ts"
import { LossNotFinite } from "#stages/train-step.ts"

type Batches = Stream.Stream<RecordBatch, StageError | WriteFailed, StageServices>
type Files = (task: string, port: string) => ReadonlyArray<string>

/** What is seen of a training from outside. */
interface Training {
  /** How long it waited for each batch, in milliseconds. */
  readonly waits: Array<number>
  /** The batch that it was given last. */
  batch: RecordBatch | undefined
}

const observed = (stream: Inlet["batches"], training: Training): Inlet["batches"] =>
  Stream.unwrap(
    Effect.map(Stream.toPull(stream), (pull) => {
      const timed = Effect.suspend(() => {
        const start = performance.now()
        return Effect.tap(pull, ([batch]) =>
          Effect.sync(() => {
            training.waits.push(performance.now() - start)
            training.batch = batch
          })
        )
      })
      return Stream.fromPull(Effect.succeed(timed))
    })
  )

/** The streams of one stage as inlets of the next; what goes wrong upstream keeps its own error. */
const inMemory = (stage: AnyStage, port: Port, stream: Batches) =>
  Effect.map(
    Effect.context<StageServices>(),
    (context): Inlet => ({
      artifact: port.artifact,
      source: `output of ${stage.name}`,
      files: [],
      batches: stream.pipe(
        Stream.provideContext(context),
        Stream.mapError((failure) => new UpstreamFailed({ stage: stage.name, failure }))
      )
    })
  )

const inletsOf = (
  step: Step,
  stage: AnyStage,
  files: Files,
  before: { readonly stage: AnyStage; readonly outlets: Readonly<Record<string, Batches>> } | undefined,
  training: Training
) =>
  Effect.gen(function* () {
    const inlets: Record<string, Inlet | undefined> = {}
    for (const [name, port] of Object.entries(stage.inputs) as Array<[string, Port]>) {
      const sources = step.inputs[name]
      const stream = before?.outlets[name]
      if (sources)
        inlets[name] = inletOf(
          port.artifact,
          sources.flatMap((source) => files(source.task, source.port))
        )
      else if (stream && !port.optional) inlets[name] = yield* inMemory(before.stage, port, stream)
    }
    const { batches } = inlets
    return batches && stage.name === "train-step"
      ? { ...inlets, batches: { ...batches, batches: observed(batches.batches, training) } }
      : inlets
  })

/** Rows of an `images` file: 100 MB of pixels at 256×128, so that shards can be copied and checked on their own. */
const imagesPerFile = 1024

const fileNames = (folder: string, port: string) => (index: number) =>
  join(folder, port === "images" ? `part-${String(index).padStart(5, "0")}.arrow` : `${port}.arrow`)

const unwrapped = (error: unknown): unknown => (error instanceof UpstreamFailed ? unwrapped(error.failure) : error)

export interface TaskResult {
  readonly outputs: Readonly<Record<string, TaskOutput>>
  /** What the tap kept, by kind. */
  readonly taps: Readonly<Record<string, Tapped>>
  /** Of a task that trains: milliseconds of each step, and of the wait for its batch. */
  readonly stepMillis: ReadonlyArray<number>
  readonly waitMillis: ReadonlyArray<number>
}

export interface TaskOutput {
  readonly artifact: string
  readonly columns: Readonly<Record<string, string>>
  readonly files: Effect.Success<ReturnType<typeof writeBatches>>
}

export interface TaskSettings extends Omit<ResumeSettings, "every" | "waits"> {
  readonly audit: Audit
  /** Iterations between two resume points; with a tap there are none, so that what it keeps is whole. */
  readonly checkpointEvery: number
  /** Called with each row of train-metrics as it comes. */
  readonly onStep: (row: RecordBatch, waits: ReadonlyArray<number>) => void
}

/** Keeps the batch at which a training failed, below the task's folder, and lets the error say where. */
const keepFailedBatch = (file: string, error: LossNotFinite, batch: RecordBatch) =>
  Effect.gen(function* () {
    yield* writeBatches(() => file, Number.POSITIVE_INFINITY, Stream.make(batch))
    return yield* new LossNotFinite({ ...error, batch: file })
  })

const chain = (given: Task, files: Files, settings: TaskSettings, training: Training) =>
  Effect.gen(function* () {
    const { run, audit, onStep } = settings
    const { waits } = training
    const every = audit.tap.length > 0 ? 0 : settings.checkpointEvery
    const { task, rows, after } = yield* openResumePoints(given, { ...settings, every, waits })
    const tap = yield* openTap(audit, join(run, task.id))
    let before: Parameters<typeof inletsOf>[3]
    for (const step of task.steps) {
      const stage = stageOf(step.stage)
      const inlets = yield* inletsOf(step, stage, files, before, training)
      before = { stage, outlets: tap.on(stage.name, yield* stage.run(inlets, yield* wholeParams(step))) }
    }
    let stepMillis: ReadonlyArray<number> = []
    const stepDone = (row: RecordBatch) => {
      onStep(row, waits)
      return after(row)
    }
    const write = ([port, stream]: readonly [string, Batches]) =>
      Effect.gen(function* () {
        const { artifact } = before!.stage.outputs[port] as Port
        let columns: Readonly<Record<string, string>> = {}
        const timeless =
          artifact === trainMetrics
            ? Stream.unwrap(
                Effect.map(Stream.runForEach(stream, stepDone), () => {
                  if (rows.length === 0) return Stream.empty
                  const { batch, millis } = withoutTimes(rows)
                  stepMillis = millis
                  return Stream.make(batch)
                })
              )
            : stream
        const noted = Stream.tap(timeless, ({ schema }) =>
          Effect.sync(() => {
            columns = Object.fromEntries(schema.fields.map(({ name, type }) => [name, String(type)]))
          })
        )
        const perFile = port === "images" ? imagesPerFile : Number.POSITIVE_INFINITY
        const written = yield* writeBatches(fileNames(join(run, task.id), port), perFile, noted)
        return [port, { artifact: artifact.name, columns, files: written } satisfies TaskOutput] as const
      })
    // Side by side: the outlets of a stage share one computation.
    const outputs = yield* Effect.forEach(Object.entries(before!.outlets), write, { concurrency: "unbounded" })
    const taps = yield* tap.finish
    return { outputs: Object.fromEntries(outputs), taps, stepMillis, waitMillis: waits } satisfies TaskResult
  })

/**
 * Runs the task's stages and writes its artifacts below the run's folder; its networks are freed at the end. Of a task that trains
 * it goes on from the resume point that is there.
 */
export const runTask = (task: Task, files: Files, settings: TaskSettings) => {
  const session = Layer.fresh(Networks.layer.pipe(Layer.provideMerge(Session.layer)))
  const training: Training = { waits: [], batch: undefined }
  return chain(task, files, settings, training).pipe(
    Effect.scoped,
    Effect.provide(session, { local: true }),
    Effect.mapError((error) => unwrapped(error) as Exclude<typeof error, UpstreamFailed>),
    Effect.catchTag("LossNotFinite", (error) =>
      training.batch
        ? keepFailedBatch(join(settings.run, failedBatchFile(task.id)), error, training.batch)
        : Effect.fail(error)
    )
  )
}
