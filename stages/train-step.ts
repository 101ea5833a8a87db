/**
 * train-step: one optimizer step of the students on each batch, as Algorithm 1 of the MMT paper. With a single network
 * and no teachers it is the supervised pre-training.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import type { RecordBatch } from "apache-arrow"
import { Deferred, Effect, Result, Schema, Stream } from "effect"
import type { TensorFlow } from "#engine/tensorflow.ts"
import { type Adam, adamDefaults } from "#model/adam.ts"
import { ModelConfig } from "#model/config.ts"
import { LearningRateSchedule, learningRate } from "#model/learning-rate.ts"
import {
  marginTriplet,
  mineHardPairs,
  pairwiseDistances,
  smoothedCrossEntropy,
  softCrossEntropy,
  softmaxTriplet,
  softSoftmaxTriplet
} from "#model/losses.ts"
import type { Forward, Network } from "#model/network.ts"
import { Networks, type NetworksShape } from "#model/networks.ts"
import { type Inlet, optionalPort, port, stage } from "#pipeline/stage.ts"
import { batchOf, metadataOf, viewOf } from "#schemas/artifact.ts"
import { batches } from "#schemas/batches.ts"
import { checkpoint } from "#schemas/checkpoint.ts"
import { float32 } from "#schemas/column.ts"
import { centroids } from "#schemas/pseudo-labels.ts"
import { trainMetrics } from "#schemas/train-metrics.ts"

const NotNegative = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))

/** What each loss counts for; a loss of weight 0 is not computed. */
export const LossWeights = Schema.Struct({
  /** Label-smoothed cross entropy on the hard labels: 1 − λ_id. */
  identity: NotNegative,
  /** Softmax-triplet on the hard labels: 1 − λ_tri. */
  triplet: NotNegative,
  /** Cross entropy on the other teacher's class probabilities: λ_id. */
  softIdentity: NotNegative,
  /** Softmax-triplet on the other teacher's distances: λ_tri. */
  softTriplet: NotNegative
})
export type LossWeights = typeof LossWeights.Type

export const LossSettings = Schema.Struct({
  weights: LossWeights,
  /** ε of label smoothing. */
  labelSmoothing: NotNegative,
  /** 0 takes the softmax-triplet loss; above, the triplet loss with this margin. */
  tripletMargin: NotNegative,
  /** Whether the gradient of a distance flows through both of its features, or the anchor's alone (OpenUnReID). */
  distanceGradient: Schema.Literals(["full", "anchor-only"])
})
export type LossSettings = typeof LossSettings.Type

export const mmtLoss: LossSettings = {
  weights: { identity: 0.5, triplet: 0.2, softIdentity: 0.5, softTriplet: 0.8 },
  labelSmoothing: 0.1,
  tripletMargin: 0,
  distanceGradient: "full"
}

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
  /** `fresh` starts Adam anew and keeps nothing of it; `continued` takes it from the checkpoint and saves it there. */
  optimizer: Schema.Literals(["fresh", "continued"]).pipe(
    Schema.withDecodingDefaultKey(Effect.succeed("fresh" as const))
  ),
  /** Where no checkpoint is given: the students' architecture, and the seed of their weights. */
  initial: Schema.optionalKey(Schema.Struct({ model: ModelConfig, seed: Schema.Int }))
})

/** A loss became NaN or infinite. The networks of the last checkpoint are untouched. */
export class LossNotFinite extends Schema.TaggedError<LossNotFinite>()("LossNotFinite", {
  epoch: Schema.Int,
  iteration: Schema.Int,
  term: Schema.String,
  value: Schema.Number
}) {
  override get message() {
    return `epoch ${this.epoch}, iteration ${this.iteration}: loss term "${this.term}" is ${this.value}, expected a finite number; lower the learning rate or check the input`
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

export interface TrainBatch {
  /** Pixels [N, H, W, 3] for each student (and its teacher). */
  readonly views: ReadonlyArray<tfjs.Tensor4D>
  /** [N] int32. */
  readonly labels: tfjs.Tensor1D
}

/** The loss terms of one student, by name; its soft labels come from `peer`, the other student's mean teacher. */
const lossTerms = (
  tf: TensorFlow,
  student: Forward,
  peer: Forward | undefined,
  labels: tfjs.Tensor1D,
  { weights, labelSmoothing, tripletMargin, distanceGradient }: LossSettings
): ReadonlyArray<readonly [name: string, weight: number, value: tfjs.Scalar]> => {
  const distances = pairwiseDistances(tf, student.feature, distanceGradient)
  const pairs = mineHardPairs(tf, distances, labels)
  const hardTriplet = () =>
    tripletMargin > 0 ? marginTriplet(tf, distances, pairs, tripletMargin) : softmaxTriplet(tf, distances, pairs)
  const softTriplet = (teacher: Forward) =>
    softSoftmaxTriplet(tf, distances, pairwiseDistances(tf, teacher.feature), pairs)
  const terms = [
    ["ce", weights.identity, () => smoothedCrossEntropy(tf, student.logits, labels, labelSmoothing)],
    ["tri", weights.triplet, hardTriplet],
    ["softCe", weights.softIdentity, () => softCrossEntropy(tf, student.logits, peer!.logits)],
    ["softTri", weights.softTriplet, () => softTriplet(peer!)]
  ] as const
  return terms.filter(([, weight]) => weight > 0).map(([name, weight, value]) => [name, weight, value()])
}

export interface StepResult {
  /** Each loss term by name (`ce1`, `tri1`, `softCe1`, `softTri1`, …) and their weighted sum `total`. */
  readonly losses: ReadonlyMap<string, number>
  /** By the optimizer's names, `student-1/backbone.conv1.weight` …; the caller disposes them. */
  readonly gradients: Readonly<Record<string, tfjs.Tensor>>
}

/**
 * Losses and gradients of one batch (lines 6 to 9 of Algorithm 1): all networks run in training mode, the teachers
 * without gradient; student 1 learns from teacher 2 and student 2 from teacher 1.
 */
export const lossAndGradients = (
  tf: TensorFlow,
  students: ReadonlyArray<Network>,
  teachers: ReadonlyArray<Network>,
  { views, labels }: TrainBatch,
  settings: LossSettings
): StepResult => {
  let names: ReadonlyArray<string> = []
  let values: tfjs.Tensor1D | undefined
  const gradients = tf.tidy(() => {
    const taught = teachers.map((teacher, i) => teacher.forward(views[i]!, "train"))
    const totalLoss = () => {
      const terms = students.flatMap((student, i) => {
        const out = student.forward(views[i]!, "train")
        const peer = taught[students.length - 1 - i]
        return lossTerms(tf, out, peer, labels, settings).map(([name, weight, value]) => {
          return { name: `${name}${i + 1}`, weighted: tf.mul(value, weight) as tfjs.Scalar, value }
        })
      })
      const total = tf.addN(terms.map(({ weighted }) => weighted))
      names = [...terms.map(({ name }) => name), "total"]
      values = tf.keep(tf.stack([...terms.map(({ value }) => value), total])) as tfjs.Tensor1D
      return total
    }
    const variables = students.flatMap((student) =>
      [...student.parameters].map(([name, variable]) => [`${student.name}/${name}`, variable] as const)
    )
    const { grads } = tf.variableGrads(
      totalLoss,
      variables.map(([, variable]) => variable)
    )
    return Object.fromEntries(variables.map(([name, variable]) => [name, grads[variable.name]!]))
  })
  const numbers = values!.dataSync()
  values!.dispose()
  return { losses: new Map(names.map((name, i) => [name, numbers[i]!])), gradients }
}

const teacherOf = (student: string) => student.replace("student", "teacher")

/** The students and their teachers, from the checkpoint, the session or a seed. */
const prepareNetworks = (networks: NetworksShape, params: typeof TrainStepParams.Type, classes: number) =>
  Effect.gen(function* () {
    const { students, initial, meanTeachers } = params
    if (initial && networks.names().length === 0)
      for (const name of students) networks.create(name, initial.model, classes, initial.seed)
    const trained = yield* Effect.forEach(students, networks.get)
    const teachers = meanTeachers
      ? yield* Effect.forEach(trained, (student) => {
          const name = teacherOf(student.name)
          return networks.has(name) ? networks.get(name) : Effect.sync(() => networks.copy(student, name))
        })
      : []
    return { trained, teachers }
  })

/** Classifier weights from cluster centroids: their rows L2-normalised, in the order of the labels. */
const classifierFrom = (inlet: Inlet<typeof centroids>) =>
  Effect.gen(function* () {
    const rows = (yield* Stream.runCollect(inlet.batches)).flatMap((batch) => {
      const { label, centroid } = viewOf(centroids, batch)
      const width = centroid.length / label.length
      return Array.from(label, (at, row) => [at, centroid.subarray(row * width, (row + 1) * width)] as const)
    })
    const sorted = rows.sort(([a], [b]) => a - b)
    if (sorted.some(([label], row) => label !== row)) {
      const problem = `its labels are not 0 … ${sorted.length - 1}, each once`
      return yield* new BatchUnusable({ source: inlet.source, problem })
    }
    return Float32Array.from(
      sorted.flatMap(([, centroid]) => {
        const norm = Math.max(Math.hypot(...centroid), 1e-12)
        return Array.from(centroid, (value) => value / norm)
      })
    )
  })

/** Pixels and labels of a batch on the engine, one view a student. */
const toEngine = (tf: TensorFlow, batch: RecordBatch, source: string, students: number, classes: number) => {
  const { label, view, pixels } = viewOf(batches, batch)
  const { height, width } = Result.getOrThrow(metadataOf(batches, batch, source))
  const rows = view.findIndex((v) => v !== 0)
  const perView = rows < 0 ? view.length : rows
  const values = height * width * 3
  const wrong = (problem: string) => Effect.fail(new BatchUnusable({ source, problem }))
  if (perView * students > view.length || !view.every((v, row) => v === Math.floor(row / perView)))
    return wrong(`column "view": expected ${students} views of the same rows, one after the other`)
  if (pixels.length !== view.length * values)
    return wrong(
      `column "pixels": ${pixels.length / view.length} values a row, expected ${height}·${width}·3 as its metadata says`
    )
  const outside = label.find((l) => l < 0 || l >= classes)
  if (outside !== undefined)
    return wrong(`column "label": ${outside}, expected 0 … ${classes - 1}, the networks' classes`)
  const views = Array.from({ length: students }, (_, i) =>
    tf.tensor4d(pixels.subarray(i * perView * values, (i + 1) * perView * values), [perView, height, width, 3])
  )
  return Effect.succeed({ views, labels: tf.tensor1d(label.subarray(0, perView), "int32") })
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
    batches: port(batches, "a record batch an iteration"),
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
      if (inputs.checkpoint)
        yield* networks.load(yield* Stream.runCollect(inputs.checkpoint.batches), inputs.checkpoint.source)
      const classifier = inputs.centroids ? yield* classifierFrom(inputs.centroids) : undefined
      const source = inputs.batches.source
      let ready: { trained: ReadonlyArray<Network>; teachers: ReadonlyArray<Network>; adam: Adam } | undefined
      const prepare = (batch: RecordBatch) =>
        Effect.gen(function* () {
          const { label } = viewOf(batches, batch)
          const declared = Result.getOrThrow(metadataOf(batches, batch, source)).classes
          const { trained, teachers } = yield* prepareNetworks(networks, params, declared ?? Math.max(...label) + 1)
          if (classifier) for (const network of [...trained, ...teachers]) network.setClassifier(classifier)
          const settings = { ...adamDefaults, weightDecay: params.weightDecay }
          return { trained, teachers, adam: networks.optimizer(trained, settings, params.optimizer === "fresh") }
        })
      const trainOn = (batch: RecordBatch) =>
        Effect.gen(function* () {
          ready ??= yield* prepare(batch)
          const { trained, teachers, adam } = ready
          const start = performance.now()
          const iteration = Result.getOrThrow(metadataOf(batches, batch, source)).iteration
          const rate = learningRate(params.schedule, params.epoch, iteration, params.iterations)
          const onEngine = yield* toEngine(tf, batch, source, trained.length, trained[0]!.classes())
          const { losses, gradients } = lossAndGradients(tf, trained, teachers, onEngine, params.loss)
          tf.dispose([...onEngine.views, onEngine.labels])
          const bad = [...losses].find(([, value]) => !Number.isFinite(value))
          if (bad !== undefined) {
            tf.dispose(gradients)
            return yield* new LossNotFinite({ epoch: params.epoch, iteration, term: bad[0], value: bad[1] })
          }
          adam.apply(gradients, rate)
          tf.dispose(gradients)
          const row = metricsRow(params.epoch, iteration, losses, rate, performance.now() - start)
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
          Stream.onEnd(Deferred.succeed(finished, undefined))
        ),
        checkpoint: Stream.fromEffect(saved)
      }
    })
})
