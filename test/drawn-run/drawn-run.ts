/**
 * A run's folder without a run: every artifact that its plan names, drawn and consistent with the others, so that the audit
 * passes, in a fraction of the time. For what reads runs: reports, at any size and in any state.
 */
import { mkdir } from "node:fs/promises"
import { join, relative } from "node:path"
import type { RecordBatch } from "apache-arrow"
import { Effect, Stream } from "effect"
import { random } from "#data/random.ts"
import { writeBatches } from "#pipeline/arrow-file.ts"
import { keyOf, type StepRecord, type TaskRecord, writeManifest, writeWhole } from "#pipeline/manifest.ts"
import { planTasks } from "#pipeline/plan.ts"
import { keptRunFile, parseRunFile, type RunConfig } from "#pipeline/run-file.ts"
import { stageOf } from "#pipeline/stages.ts"
import { digestsOf, wholeParams } from "#pipeline/state.ts"
import type { Source, Task } from "#pipeline/task-plan.ts"
import { batchOf } from "#schemas/artifact.ts"
import { embeddings } from "#schemas/embeddings.ts"
import { images } from "#schemas/images.ts"
import { metricsBatch, rankingBatch } from "#schemas/metrics.ts"
import { centroids, pseudoLabels } from "#schemas/pseudo-labels.ts"
import type { EmaUpdateParams } from "#stages/ema-update.ts"
import type { TrainStepParams } from "#stages/train-step.ts"
import { rankedRows, scoresOfRows } from "./evaluation.ts"
import { type DrawnImage, type DrawnSizes, embeddingsOfImages, imagesOfSplit, pixelsOf } from "./images.ts"
import { checkpointBatch, drawnMetrics, newNetworks, type Trained, trainedNetworks } from "./training.ts"

type Outputs = Readonly<Record<string, Iterable<RecordBatch>>>

interface Drawing {
  readonly config: RunConfig
  readonly sizes: DrawnSizes
  readonly trained: Map<string, Trained>
  readonly vectors: Map<string, Float32Array>
}

type Params = Readonly<Record<string, unknown>>

const rowsPerBatch = 256

function* imageBatches(split: string, { config, sizes }: Drawing): Iterable<RecordBatch> {
  const { height, width, target } = config.data
  const unnamed = split === "target-train" && target.format === "folder"
  const all = imagesOfSplit(split, sizes)
  for (let from = 0; from < all.length; from += rowsPerBatch) {
    const rows = all.slice(from, from + rowsPerBatch)
    yield batchOf(
      images,
      {
        image: rows.map(({ image }) => image),
        person: Int32Array.from(rows, ({ person }) => (unnamed ? -1 : person)),
        camera: Int32Array.from(rows, ({ camera }) => camera),
        pixels: Buffer.concat(rows.map((row) => pixelsOf(row, height, width)))
      },
      { height, width, dataset: target.format, split: split.split("-")[1]! }
    )
  }
}

const epochOf = (task: string) => Number(/epoch-(\d+)/.exec(task)?.[1] ?? 0)

const splitOf = (sources: ReadonlyArray<Source>) => sources[0]!.task.replace("decode/", "")

const embedded = (task: Task, drawing: Drawing): Outputs => {
  const step = task.steps[0]!
  const split = splitOf(step.inputs.images!)
  const rows = imagesOfSplit(split, drawing.sizes)
  const noise = 2.2 / (1 + 0.06 * epochOf(task.id))
  const embedding = embeddingsOfImages(rows, drawing.sizes.dimension, noise, task.id)
  drawing.vectors.set(task.id, embedding)
  const unnamed = drawing.config.data.target.format === "folder"
  return {
    embeddings: [
      batchOf(
        embeddings,
        {
          image: rows.map(({ image }) => image),
          person: Int32Array.from(rows, ({ person }) => (unnamed ? -1 : person)),
          camera: Int32Array.from(rows, ({ camera }) => camera),
          embedding
        },
        { networks: (step.params.networks as ReadonlyArray<string>).join(",") }
      )
    ]
  }
}

/** Clusters are the identities but for a share of images that shrinks, and of DBSCAN some outliers; label 0 is of the first image. */
const drawnLabels = (task: Task, rows: ReadonlyArray<DrawnImage>, params: Params): ReadonlyArray<number> => {
  const draw = random(7, "labels", task.id)
  const wrong = 0.5 / (1 + 0.2 * epochOf(task.id))
  const numbers = new Map<number, number>()
  return rows.map(({ person }) => {
    const cluster = draw.chance(wrong) ? 1 + draw.int(Math.max(2, Math.floor(rows.length / 20))) : person
    if (params.algorithm === "dbscan" && draw.chance(0.1)) return -1
    if (!numbers.has(cluster)) numbers.set(cluster, numbers.size)
    return numbers.get(cluster)!
  })
}

const clustered = (task: Task, params: Params, { sizes }: Drawing): Outputs => {
  const rows = imagesOfSplit("target-train", sizes)
  const label = Int32Array.from(drawnLabels(task, rows, params))
  const size = Array.from({ length: Math.max(...label) + 1 }, () => 0)
  for (const of of label) if (of >= 0) size[of]!++
  const centres = size.map((_, i): DrawnImage => ({ image: "", person: i, camera: 1 }))
  return {
    "pseudo-labels": [batchOf(pseudoLabels, { image: rows.map(({ image }) => image), label }, {})],
    centroids: [
      batchOf(
        centroids,
        {
          label: Int32Array.from(size.keys()),
          size: Int32Array.from(size),
          centroid: embeddingsOfImages(centres, sizes.dimension, 0, task.id)
        },
        {}
      )
    ]
  }
}

const evaluated = (task: Task, params: Params, { sizes, vectors }: Drawing): Outputs => {
  const of = (port: string) => vectors.get(task.steps[0]!.inputs[port]![0]!.task)!
  const [query, gallery] = ["query", "gallery"].map((part) => imagesOfSplit(`target-${part}`, sizes))
  const depth = Number(params.depth)
  const rows = rankedRows(query!, of("query"), gallery!, of("gallery"), depth)
  const named = scoresOfRows(rows, params.ranks as ReadonlyArray<number>)
  return {
    metrics: [metricsBatch(named)],
    ranking: [rankingBatch(rows, depth)]
  }
}

const trained = (task: Task, params: ReadonlyArray<Params>, drawing: Drawing): Outputs => {
  const at = task.steps.findIndex(({ stage }) => stage === "train-step")
  const own = params[at] as unknown as typeof TrainStepParams.Type
  const sources = task.steps[at]!.inputs.checkpoint ?? []
  const before = sources.map((source) => drawing.trained.get(source.task)!)
  const start: Trained =
    before.length > 0
      ? { networks: new Map(before.flatMap(({ networks }) => [...networks])), updates: before[0]!.updates }
      : { networks: newNetworks(own.students), updates: 0 }
  if (task.phase === "start") {
    drawing.trained.set(task.id, start)
    return { "train-metrics": [], checkpoint: [checkpointBatch(start)] }
  }
  const ema = params[at + 1] as unknown as typeof EmaUpdateParams.Type | undefined
  const after = trainedNetworks(start, own, ema, task.id)
  drawing.trained.set(task.id, after.trained)
  return {
    "train-metrics": [drawnMetrics(own, task.id)],
    checkpoint: [checkpointBatch(after.trained)],
    ...(ema ? { "teacher-updates": [after.updates] } : {})
  }
}

const outputsOf = (task: Task, params: ReadonlyArray<Params>, drawing: Drawing): Outputs => {
  const last = task.steps.at(-1)!.stage
  if (last === "decode") return { images: imageBatches(task.id.replace("decode/", ""), drawing) }
  if (last === "embed") return embedded(task, drawing)
  if (last === "cluster") return clustered(task, params[0]!, drawing)
  return last === "evaluate" ? evaluated(task, params[0]!, drawing) : trained(task, params, drawing)
}

const imagesPerFile = 1024

const written = Effect.fnUntraced(function* (folder: string, task: Task, outputs: Outputs) {
  const ports = stageOf(task.steps.at(-1)!.stage).outputs as Readonly<Record<string, { artifact: { name: string } }>>
  const entries = yield* Effect.forEach(Object.entries(outputs), ([port, batches]) =>
    Effect.gen(function* () {
      let columns: Readonly<Record<string, string>> = {}
      const noted = Stream.tap(Stream.fromIterable(batches), ({ schema }) =>
        Effect.sync(() => {
          columns = Object.fromEntries(schema.fields.map(({ name, type }) => [name, String(type)]))
        })
      )
      const name = (i: number) => (port === "images" ? `part-${String(i).padStart(5, "0")}` : port)
      const perFile = port === "images" ? imagesPerFile : Number.POSITIVE_INFINITY
      const files = yield* writeBatches((i) => join(folder, task.id, `${name(i)}.arrow`), perFile, noted)
      const placed = files.map(({ file, ...rest }) => ({ path: relative(folder, file), ...rest }))
      return [port, { artifact: ports[port]!.artifact.name, columns, files: placed }] as const
    })
  )
  return Object.fromEntries(entries)
})

const recordOf = (
  steps: ReadonlyArray<StepRecord>,
  outputs: TaskRecord["outputs"],
  iterations: number
): TaskRecord => ({
  key: keyOf(steps),
  steps,
  outputs,
  engine: "drawn, not trained",
  finished: "2020-02-02T02:02:02.000Z",
  seconds: 1.5,
  ...(iterations > 0 ? { training: { steps: iterations, stepMillis: 70, waitingShare: 0.01 } } : {})
})

/** Draws the run of this run file into a folder, as far as `until` says a task is still done. */
export const drawRun = Effect.fn("drawRun")(function* (
  folder: string,
  runFile: string,
  sizes: DrawnSizes,
  until: (task: string) => boolean = () => true
) {
  yield* Effect.promise(() => mkdir(folder, { recursive: true }))
  const config = yield* parseRunFile(runFile, join(folder, "run.yaml"))
  const drawing: Drawing = { config, sizes, trained: new Map(), vectors: new Map() }
  const done = new Map<string, TaskRecord>()
  for (const task of planTasks(config)) {
    if (!until(task.id)) break
    const params = yield* Effect.forEach(task.steps, wholeParams)
    const digests = digestsOf(done)
    const steps = task.steps.map((step, i): StepRecord => {
      const own = Object.entries(params[i]!).filter(([key]) => !(key in (step.local ?? {})))
      const inputs = Object.fromEntries(
        Object.entries(step.inputs).map(([port, sources]) => [
          port,
          sources.flatMap((source) => digests(source.task, source.port)!)
        ])
      )
      const { version } = stageOf(step.stage)
      return { stage: step.stage, version, params: Object.fromEntries(own), inputs }
    })
    const outputs = yield* written(folder, task, outputsOf(task, params, drawing))
    const training = params.find((_, i) => task.steps[i]!.stage === "train-step")
    done.set(task.id, recordOf(steps, outputs, Number(training?.iterations ?? 0)))
  }
  yield* writeWhole(join(folder, "run.yaml"), keptRunFile(config, folder))
  yield* writeManifest(folder, done)
  return config
})
