/**
 * train-step: one optimizer step of the students on each batch, as Algorithm 1 of the MMT paper. With a single network
 * and no teachers it is the supervised pre-training.
 */
import type { RecordBatch } from "apache-arrow"
import { Deferred, Effect, Result, Schema, Stream } from "effect"
import { random } from "#data/random.ts"
import { Programs } from "#engine/programs.ts"
import { adamDefaults } from "#model/adam.ts"
import { ModelConfig } from "#model/config.ts"
import { LearningRateSchedule, learningRate } from "#model/learning-rate.ts"
import { teacherOf } from "#model/mean-teacher.ts"
import { BatchNotDivisible } from "#model/network.ts"
import { Networks } from "#model/networks.ts"
import { LossSettings, mmtLoss } from "#model/objective.ts"
import { startingNetworks } from "#model/starting-networks.ts"
import { compiledTrainer, eagerTrainer, type Trainer } from "#model/trainer.ts"
import { type Inlet, optionalPort, port, stage } from "#pipeline/stage.ts"
import { batchOf, metadataOf, viewOf } from "#schemas/artifact.ts"
import { batches } from "#schemas/batches.ts"
import { checkpoint } from "#schemas/checkpoint.ts"
import { float32 } from "#schemas/column.ts"
import { centroids } from "#schemas/pseudo-labels.ts"
import { trainMetrics } from "#schemas/train-metrics.ts"

const NotNegative = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))

export const TrainStepParams = Schema.Struct({
  epoch: Schema.Int.pipe(Schema.withDecodingDefaultKey(Effect.succeed(1))),
  /** The trained networks; the first learns from view 0, the second from view 1. */
  students: Schema.Array(Schema.String).pipe(Schema.withDecodingDefaultKey(Effect.succeed(["student-1", "student-2"]))),
  /** Whether each student has a mean teacher: `student-1` has `teacher-1`, a copy where it is not there yet. */
  meanTeachers: Schema.Boolean.pipe(Schema.withDecodingDefaultKey(Effect.succeed(true))),
  loss: LossSettings.pipe(Schema.withDecodingDefaultKey(Effect.succeed(mmtLoss))),
  schedule: LearningRateSchedule.pipe(
    Schema.withDecodingDefaultKey(Effect.succeed({ base: 3.5e-4, warmupEpochs: 0, milestones: [], factor: 0.1 }))
  ),
  /** Iterations of an epoch, which the schedule counts in. */
  iterations: Schema.Int.check(Schema.isGreaterThan(0)).pipe(Schema.withDecodingDefaultKey(Effect.succeed(400))),
  weightDecay: NotNegative.pipe(Schema.withDecodingDefaultKey(Effect.succeed(adamDefaults.weightDecay))),
  /**
   * `fresh` starts Adam anew and keeps nothing of it; `continued` takes it from the checkpoint and saves it there; `resumed` takes
   * it from the checkpoint and keeps nothing, as an epoch that was broken off goes on.
   */
  optimizer: Schema.Literals(["fresh", "continued", "resumed"]).pipe(
    Schema.withDecodingDefaultKey(Effect.succeed("fresh" as const))
  ),
  /** With epoch, iteration and network, what the model's dropout draws from. */
  seed: Schema.Int.pipe(Schema.withDecodingDefaultKey(Effect.succeed(1))),
  /** Runs each step as one call of a compiled graph; op by op it takes more than twice the time. */
  compiled: Schema.Boolean.pipe(Schema.withDecodingDefaultKey(Effect.succeed(true))),
  /** Where no checkpoint is given: the students' architecture, and the seed of the first one's weights, others count on. */
  initial: Schema.optionalKey(Schema.Struct({ model: ModelConfig, seed: Schema.Int })),
  /**
   * Checkpoint files (PyTorch's .pth, .safetensors, a checkpoint.arrow), one for all initial networks or one for each: what
   * they hold stands in the place of what is drawn, but for a classifier, whose classes are not those of the batches.
   */
  weights: Schema.optionalKey(Schema.Array(Schema.NonEmptyString))
}).check(
  Schema.makeFilter(({ students, meanTeachers, initial, weights: files, loss: { weights, softLabels } }) => {
    if (students.length === 0) return "students: expected at least one network"
    if (files && initial === undefined) return "weights: expected `initial` beside, which says the networks' model"
    if (files && files.length !== 1 && files.length !== students.length)
      return `weights: expected one file, or ${students.length}, one for each of the students`
    if (Object.values(weights).every((weight) => weight === 0)) return "loss.weights: expected one above 0 at least"
    const softWeight = weights.softIdentity + weights.softTriplet
    if (softWeight > 0 && softLabels === "mean-teachers" && !meanTeachers)
      return "loss.weights: softIdentity and softTriplet must be 0 without meanTeachers, which give the soft labels"
    if (softWeight > 0 && softLabels === "students" && students.length !== 2)
      return "students: expected two networks, of which each takes its soft labels from the other"
    const unnamed = meanTeachers ? students.find((name) => teacherOf(name) === name) : undefined
    return unnamed === undefined || `students: "${unnamed}" has no mean teacher; expected a name as "student-1"`
  })
)

/** A loss became NaN or infinite. The networks are gone, as they may hold it; those of the last checkpoint are untouched. */
export class LossNotFinite extends Schema.TaggedError<LossNotFinite>()("LossNotFinite", {
  epoch: Schema.Int,
  iteration: Schema.Int,
  term: Schema.String,
  value: Schema.Number,
  /** The file in which the batch was kept. */
  batch: Schema.optionalKey(Schema.String)
}) {
  override get message() {
    const kept = this.batch === undefined ? "" : `; its batch is kept in ${this.batch}`
    return `epoch ${this.epoch}, iteration ${this.iteration}: loss term "${this.term}" is ${this.value}, expected a finite number; lower the learning rate or check the input${kept}`
  }
}

/** A batch does not fit the networks: views, labels or image size. */
export class BatchUnusable extends Schema.TaggedError<BatchUnusable>()("BatchUnusable", {
  source: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `${this.source}: ${this.problem}`
  }
}

/** Classifier weights from cluster centroids: their rows L2-normalised, in the order of the labels, and their width. */
export const classifierFrom = (inlet: Inlet<typeof centroids>) =>
  Effect.gen(function* () {
    const rows = (yield* Stream.runCollect(inlet.batches)).flatMap((batch) => {
      const { label, centroid } = viewOf(centroids, batch)
      const width = centroid.length / label.length
      return Array.from(label, (at, row) => [at, centroid.subarray(row * width, (row + 1) * width)] as const)
    })
    const wrong = (problem: string) => new BatchUnusable({ source: inlet.source, problem })
    const sorted = rows.sort(([a], [b]) => a - b)
    if (sorted.length === 0) return yield* wrong("it holds no centroids")
    if (sorted.some(([label], row) => label !== row))
      return yield* wrong(`its labels are not 0 … ${sorted.length - 1}, each once`)
    const width = sorted[0]![1].length
    const other = sorted.find(([, centroid]) => centroid.length !== width)
    if (other) return yield* wrong(`centroid ${other[0]} has ${other[1].length} values, the first one ${width}`)
    const infinite = sorted.find(([, centroid]) => !centroid.every(Number.isFinite))
    if (infinite) return yield* wrong(`centroid ${infinite[0]} holds a value that is no finite number`)
    const weights = new Float32Array(sorted.length * width)
    for (const [row, [, centroid]] of sorted.entries()) {
      const norm = Math.max(Math.hypot(...centroid), 1e-12)
      for (let i = 0; i < width; i++) weights[row * width + i] = centroid[i]! / norm
    }
    return { weights, width, source: inlet.source }
  })

/** What a trainer takes: the pixels of each student's view, and the labels that they share. */
interface Batch {
  readonly views: ReadonlyArray<Float32Array>
  readonly labels: Int32Array
  readonly size: readonly [images: number, height: number, width: number]
  readonly iteration: number
  /** What its metadata says, or else its labels: the greatest one and those below it. */
  readonly classes: number
}

const readBatch = (batch: RecordBatch, source: string, students: number): Effect.Effect<Batch, BatchUnusable> => {
  const { label, view, pixels } = viewOf(batches, batch)
  const { height, width, iteration, classes } = Result.getOrThrow(metadataOf(batches, batch, source))
  const rows = view.findIndex((v) => v !== 0)
  const images = rows < 0 ? view.length : rows
  const values = height * width * 3
  const wrong = (problem: string) => Effect.fail(new BatchUnusable({ source, problem }))
  if (view.length === 0) return wrong("a batch without rows")
  if (images * students > view.length || !view.every((v, row) => v === Math.floor(row / images)))
    return wrong(`column "view": expected ${students} views of the same rows, one after the other`)
  if (pixels.length !== view.length * values) {
    const found = pixels.length / view.length
    return wrong(`column "pixels": ${found} values a row, expected ${height}·${width}·3 as its metadata says`)
  }
  const differing = label.findIndex((l, row) => l !== label[row % images])
  if (differing >= 0)
    return wrong(
      `column "label": row ${differing} is ${label[differing]}, in view 0 it is ${label[differing % images]}`
    )
  const views = Array.from({ length: students }, (_, i) =>
    pixels.subarray(i * images * values, (i + 1) * images * values)
  )
  const labels = label.slice(0, images)
  const size = [images, height, width] as const
  return Effect.succeed({ views, labels, size, iteration, classes: classes ?? Math.max(...labels) + 1 })
}

const labelProblem = ({ labels }: Batch, classes: number, source: string) => {
  const outside = labels.find((label) => label < 0 || label >= classes)
  if (outside === undefined) return Effect.void
  const problem = `column "label": ${outside}, expected 0 … ${classes - 1}, the networks' classes`
  return Effect.fail(new BatchUnusable({ source, problem }))
}

const metricsRow = (
  epoch: number,
  iteration: number,
  losses: ReadonlyMap<string, number>,
  rate: number,
  millis: number
) =>
  batchOf(
    trainMetrics,
    {
      epoch: Int32Array.of(epoch),
      iteration: Int32Array.of(iteration),
      learningRate: Float32Array.of(rate),
      millis: Float32Array.of(millis)
    },
    {},
    {
      columns: Object.fromEntries([...losses.keys()].map((name) => [name, float32])),
      view: Object.fromEntries([...losses].map(([name, value]) => [name, Float32Array.of(value)]))
    }
  )

export const trainStepStage = stage({
  name: "train-step",
  version: 1,
  summary: "trains the students on batches, one optimizer step each",
  params: TrainStepParams,
  inputs: {
    batches: port(batches, "a record batch an iteration; where there are none, the networks stay as they start"),
    checkpoint: optionalPort(checkpoint, "the networks to start from; without it, those of the session or fresh ones"),
    centroids: optionalPort(centroids, "clusters whose L2-normalised centroids become every network's classifier")
  },
  outputs: {
    "train-metrics": port(trainMetrics, "loss terms and learning rate, a row an iteration"),
    checkpoint: port(checkpoint, "the networks after the last batch")
  },
  run: (inputs, params) =>
    Effect.gen(function* () {
      const networks = yield* Networks
      const { tf } = networks.session
      const programs = yield* Programs
      if (inputs.checkpoint)
        yield* networks.load(yield* Stream.runCollect(inputs.checkpoint.batches), inputs.checkpoint.source)
      const classifier = inputs.centroids ? yield* classifierFrom(inputs.centroids) : undefined
      const makeNetworks = yield* startingNetworks(networks, params)
      const source = inputs.batches.source
      const { students, loss, weightDecay, optimizer, schedule, epoch, iterations } = params
      let ready: { readonly trainer: Trainer; readonly classes: number; readonly size: string } | undefined
      const prepare = (batch: Batch) =>
        Effect.gen(function* () {
          const { trained, teachers } = yield* makeNetworks(batch.classes)
          const all = [...trained, ...teachers]
          const unfit = all.find(({ dimension }) => classifier && dimension !== classifier.width)
          if (classifier && unfit) {
            const problem = `its centroids have ${classifier.width} values, the features of ${unfit.name} ${unfit.dimension}`
            return yield* new BatchUnusable({ source: classifier.source, problem })
          }
          const { samplesPerBatchNorm = 1 } = trained[0]!.config
          const images = batch.size[0]
          if (images % samplesPerBatchNorm !== 0) {
            const problem = new BatchNotDivisible({ images, samplesPerBatchNorm }).message
            return yield* new BatchUnusable({ source, problem })
          }
          if (classifier) for (const network of all) network.setClassifier(classifier.weights)
          const adam = networks.optimizer(trained, { ...adamDefaults, weightDecay }, optimizer === "fresh")
          const spec = { students: trained, teachers, adam, loss, weightDecay, batch: batch.size }
          const trainer = params.compiled ? yield* compiledTrainer(programs, tf, spec) : eagerTrainer(tf, spec)
          networks.trainer = trainer
          return { trainer, classes: trained[0]!.classes(), size: String(batch.size) }
        })
      const trainOn = (given: RecordBatch) =>
        Effect.gen(function* () {
          const batch = yield* readBatch(given, source, students.length)
          ready ??= yield* prepare(batch)
          const { trainer, classes, size } = ready
          if (String(batch.size) !== size) {
            const problem = `a batch of ${batch.size.join("×")} after those of ${size.replaceAll(",", "×")}, expected the same size`
            return yield* new BatchUnusable({ source, problem })
          }
          yield* labelProblem(batch, classes, source)
          const start = performance.now()
          const { iteration } = batch
          const rate = learningRate(schedule, epoch, iteration, iterations)
          networks.beforeStep(trainer)
          const draw = random(params.seed, "dropout", epoch, iteration)
          // Whoever interrupts the training waits for the step's end: until then the networks are TensorFlow's.
          const losses = yield* Effect.uninterruptible(
            Effect.promise(() => trainer.step(batch.views, batch.labels, rate, draw))
          )
          const bad = [...losses].find(([, value]) => !Number.isFinite(value))
          if (bad !== undefined) {
            networks.discard()
            return yield* new LossNotFinite({ epoch, iteration, term: bad[0], value: bad[1] })
          }
          const row = metricsRow(epoch, iteration, losses, rate, performance.now() - start)
          // Signals, finished augmentations and progress get their turn between two steps.
          yield* Effect.yieldNow
          return row
        })
      const finished = yield* Deferred.make<void>()
      const saved = Effect.andThen(Deferred.await(finished), () =>
        Effect.sync(() => networks.save({ optimizer: params.optimizer === "continued" }))
      )
      return {
        "train-metrics": inputs.batches.batches.pipe(
          Stream.rechunk(1),
          Stream.mapEffect(trainOn),
          Stream.onEnd(
            Effect.gen(function* () {
              if (ready === undefined) yield* makeNetworks()
              yield* Deferred.succeed(finished, undefined)
            })
          )
        ),
        checkpoint: Stream.fromEffect(saved)
      }
    })
})
