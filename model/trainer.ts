/**
 * Training steps on a set of networks, each one call of a compiled graph (or run op by op): the optimizer's step on a
 * batch, and the mean teachers' update. While it trains, the graph's session alone has the values of all variables.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { Effect } from "effect"
import type { Random } from "#data/random.ts"
import { compile, release, type StepSpec } from "#engine/compile.ts"
import type { ProgramsShape } from "#engine/programs.ts"
import { valuesOf } from "#engine/session.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"
import type { Adam } from "#model/adam.ts"
import { moveTeacher } from "#model/mean-teacher.ts"
import type { Network } from "#model/network.ts"
import { type LossSettings, lossAndGradients, lossNames, parametersOf } from "#model/objective.ts"
import { parameterSums } from "#model/parameter-sums.ts"

export interface TrainerSpec {
  readonly students: ReadonlyArray<Network>
  /** In the students' order, or none. */
  readonly teachers: ReadonlyArray<Network>
  readonly adam: Adam
  readonly loss: LossSettings
  readonly weightDecay: number
  /** Of one view: images, height, width. */
  readonly batch: readonly [images: number, height: number, width: number]
}

export interface Trainer {
  /**
   * One optimizer step: pixels of each view [N · H · W · 3], labels [N]; `draw` gives each network that has dropout its own mask.
   * A promise of the losses by name; until it is kept the trainer can do nothing else, and the pixels must not change.
   */
  readonly step: (
    views: ReadonlyArray<Float32Array>,
    labels: Int32Array,
    learningRate: number,
    draw: Random
  ) => Promise<ReadonlyMap<string, number>>
  /** E[θ] ← α·E[θ] + (1 − α)·θ. Gives the weighted sums of the students' parameters, student by student. */
  readonly moveTeachers: (alpha: number) => Float32Array
  /** Brings the networks' values back from the graph's session. */
  readonly settle: () => void
  /** The same with the optimizer's moments, which are there while `read` runs. */
  readonly withMoments: <A>(read: () => A) => A
}

type StepName = "train-step" | "ema-update"

const scalar = { shape: [], dtype: "float32" } as const

/** The networks that need a seed for their dropout at each step, with the name of the input that has it. */
const seededOf = ({ students, teachers }: TrainerSpec) =>
  [...students, ...teachers]
    .filter(({ config: { dropout = 0 } }) => dropout > 0)
    .map(({ name }) => [name, `seed of ${name}`] as const)

/** A seed for each of them, by input. */
const seedsOf = (spec: TrainerSpec, draw: Random): Readonly<Record<string, Int32Array>> =>
  Object.fromEntries(
    seededOf(spec).map(([name, input]) => {
      const own = draw.derive(name)
      return [input, Int32Array.of(own.uint32(), own.uint32())]
    })
  )

/** The two steps, as they are traced and as they run op by op. */
const stepsOf = (tf: TensorFlow, spec: TrainerSpec): Record<StepName, StepSpec> => {
  const { students, teachers, adam, loss, batch } = spec
  const seeded = seededOf(spec)
  const views = students.map((_, i) => [`view${i}`, { shape: [...batch, 3], dtype: "float32" }] as const)
  return {
    "train-step": {
      inputs: {
        ...Object.fromEntries(views),
        ...Object.fromEntries(seeded.map(([, input]) => [input, { shape: [2], dtype: "int32" } as const])),
        labels: { shape: [batch[0]], dtype: "int32" },
        stepSize: scalar,
        correction: scalar
      },
      step: (given) => {
        const images = students.map((_, i) => given[`view${i}`] as tfjs.Tensor4D)
        const labels = given.labels as tfjs.Tensor1D
        const seeds = new Map(seeded.map(([name, input]) => [name, given[input] as tfjs.Tensor1D]))
        const { losses, gradients } = lossAndGradients(tf, students, teachers, { views: images, labels, seeds }, loss)
        adam.apply(gradients, given.stepSize as tfjs.Scalar, given.correction as tfjs.Scalar)
        tf.dispose(gradients)
        return { losses }
      }
    },
    "ema-update": {
      // 1 − α is rounded once, not taken from a rounded α.
      inputs: { alpha: scalar, oneMinusAlpha: scalar },
      step: ({ alpha, oneMinusAlpha }) => {
        const weights = [alpha, oneMinusAlpha] as [tfjs.Scalar, tfjs.Scalar]
        for (const [i, teacher] of teachers.entries())
          moveTeacher(tf, teacher.parameters, students[i]!.parameters, ...weights)
        return { sums: tf.concat(students.map(({ parameters }) => parameterSums(tf, parameters))) }
      }
    }
  }
}

const momentsOf = ({ students, adam }: TrainerSpec): ReadonlyArray<tfjs.Variable> =>
  [...parametersOf(students).keys()].flatMap((name) => [...adam.moments(name)])

/** All variables that the steps read or write, in an order that depends on the networks' make alone. */
const variablesOf = (spec: TrainerSpec): ReadonlyArray<tfjs.Variable> => [
  ...[...spec.students, ...spec.teachers].flatMap(({ variables }) => [...variables.values()]),
  ...momentsOf(spec)
]

/** What a program depends on but for the classes, which differ from epoch to epoch where DBSCAN gives them. */
const programFamily = ({ students, teachers, loss, weightDecay, batch }: TrainerSpec): string => {
  const networks = [...students, ...teachers].map(({ name, config }) => [name, config])
  return JSON.stringify(["train", networks, loss, weightDecay, batch])
}

/** All that a program depends on: two specs of the same text can use the same one. */
const programKey = (spec: TrainerSpec): string => {
  const classes = [...spec.students, ...spec.teachers].map((network) => network.classes())
  return `${programFamily(spec)} ${classes}`
}

const named = ({ loss, students }: TrainerSpec, losses: ArrayLike<number>) =>
  new Map(lossNames(loss, students.length).map((name, i) => [name, losses[i]!]))

/** Counts steps until the networks are told of them. */
const stepCount = ({ students, teachers }: TrainerSpec) => {
  let steps = 0
  return {
    add: () => void steps++,
    settle: () => {
      for (const network of [...students, ...teachers]) network.countBatches(steps)
      steps = 0
    }
  }
}

/** A trainer whose steps are calls of one compiled program. */
export const compiledTrainer = (programs: ProgramsShape, tf: TensorFlow, spec: TrainerSpec) =>
  Effect.gen(function* () {
    const variables = variablesOf(spec)
    const moments = momentsOf(spec)
    const own = variables.slice(0, -moments.length)
    const program = yield* programs.of(programKey(spec), compile(tf, variables, stepsOf(tf, spec)), programFamily(spec))
    const count = stepCount(spec)
    program.load(variables)
    release(tf, variables)
    let isSettled = false
    // The graph's session alone has the values while it trains: of ResNet-50 the networks' own would be a tenth of the memory.
    const unsettle = () => {
      if (isSettled) release(tf, own)
      isSettled = false
    }
    const settle = (of: ReadonlyArray<tfjs.Variable>) => {
      program.store(of)
      count.settle()
      isSettled = true
    }
    const trainer: Trainer = {
      step: async (views, labels, learningRate, draw) => {
        const { stepSize, correction } = spec.adam.next(learningRate)
        unsettle()
        const { losses } = await program.runBeside("train-step", {
          ...Object.fromEntries(views.map((view, i) => [`view${i}`, view])),
          ...seedsOf(spec, draw),
          labels,
          stepSize: Float32Array.of(stepSize),
          correction: Float32Array.of(correction)
        })
        count.add()
        return named(spec, losses!)
      },
      moveTeachers: (alpha) => {
        unsettle()
        const weights = { alpha: Float32Array.of(alpha), oneMinusAlpha: Float32Array.of(1 - alpha) }
        return program.run("ema-update", weights).sums as Float32Array
      },
      settle: () => {
        if (!isSettled) settle(own)
      },
      withMoments: (read) => {
        settle(variables)
        const result = read()
        release(tf, moments)
        return result
      }
    }
    return trainer
  })

/** A trainer that runs its steps op by op: slower, and what the compiled one is tested against. */
export const eagerTrainer = (tf: TensorFlow, spec: TrainerSpec): Trainer => {
  const steps = stepsOf(tf, spec)
  const count = stepCount(spec)
  return {
    step: async (views, labels, learningRate, draw) => {
      const { stepSize, correction } = spec.adam.next(learningRate)
      const losses = tf.tidy(() => {
        const seeds = Object.entries(seedsOf(spec, draw)).map(([input, seed]) => [input, tf.tensor1d(seed, "int32")])
        const images = views.map((view, i) => [`view${i}`, tf.tensor4d(view, [...spec.batch, 3])] as const)
        const rates = { stepSize: tf.scalar(stepSize), correction: tf.scalar(correction) }
        const given = { ...Object.fromEntries([...images, ...seeds]), labels: tf.tensor1d(labels, "int32"), ...rates }
        return steps["train-step"].step(given).losses!
      })
      const values = losses.dataSync()
      losses.dispose()
      count.add()
      return named(spec, values)
    },
    moveTeachers: (alpha) =>
      valuesOf(
        tf,
        () => steps["ema-update"].step({ alpha: tf.scalar(alpha), oneMinusAlpha: tf.scalar(1 - alpha) }).sums!
      ) as Float32Array,
    settle: count.settle,
    withMoments: (read) => {
      count.settle()
      return read()
    }
  }
}
