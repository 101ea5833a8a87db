/**
 * What a training step minimises: the losses of MMT on a batch, and their gradients. With one student and no teachers it
 * is the supervised objective of the pre-training.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { Effect, Schema } from "effect"
import type { TensorFlow } from "#engine/tensorflow.ts"
import { after } from "#engine/trace.ts"
import {
  constant,
  marginTriplet,
  mineHardPairs,
  pairwiseDistances,
  smoothedCrossEntropy,
  softCrossEntropy,
  softmaxTriplet,
  softSoftmaxTriplet
} from "#model/losses.ts"
import type { Forward, Network } from "#model/network.ts"

const NotNegative = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))

/** What each loss counts for; a loss of weight 0 is not computed. */
export const LossWeights = Schema.Struct({
  /** Label-smoothed cross entropy on the hard labels: 1 − λ_id. */
  identity: NotNegative,
  /** Softmax-triplet on the hard labels: 1 − λ_tri. */
  triplet: NotNegative,
  /** Cross entropy on the soft labels' class probabilities: λ_id. */
  softIdentity: NotNegative,
  /** Softmax-triplet on the soft labels' distances: λ_tri. */
  softTriplet: NotNegative
})
export type LossWeights = typeof LossWeights.Type

export const LossSettings = Schema.Struct({
  weights: LossWeights,
  /**
   * Whose outputs on the batch are a student's soft labels: those of the other student's mean teacher, or of the other student as
   * it is at this step (the paper's "w/o mean teaching").
   */
  softLabels: Schema.Literals(["mean-teachers", "students"]).pipe(
    Schema.withDecodingDefaultKey(Effect.succeed("mean-teachers" as const))
  ),
  /** ε of label smoothing. */
  labelSmoothing: NotNegative,
  /** 0 takes the softmax-triplet loss; above, the triplet loss with this margin. */
  tripletMargin: NotNegative,
  /** Whether the gradient of a distance flows through both of its features, or the anchor's alone (OpenUnReID). */
  distanceGradient: Schema.Literals(["full", "anchor-only"])
})
export type LossSettings = typeof LossSettings.Type

/** The paper's: λ_id 0.5, λ_tri 0.8. */
export const mmtLoss: LossSettings = {
  weights: { identity: 0.5, triplet: 0.2, softIdentity: 0.5, softTriplet: 0.8 },
  softLabels: "mean-teachers",
  labelSmoothing: 0.1,
  tripletMargin: 0,
  distanceGradient: "full"
}

/** The loss terms by name with their weights, in the order of `lossNames`. */
export const termWeights = ({ weights }: LossSettings) =>
  [
    ["ce", weights.identity],
    ["tri", weights.triplet],
    ["softCe", weights.softIdentity],
    ["softTri", weights.softTriplet]
  ] as const

/** Names of the loss terms that a step reports: `ce1`, `tri1`, `softCe1`, `softTri1`, `ce2` …, and `total`. */
export const lossNames = (settings: LossSettings, students: number): ReadonlyArray<string> => {
  const terms = termWeights(settings).filter(([, weight]) => weight > 0)
  const numbers = Array.from({ length: students }, (_, i) => i + 1)
  return [...numbers.flatMap((number) => terms.map(([name]) => `${name}${number}`)), "total"]
}

export interface TrainBatch {
  /** Pixels [N, H, W, 3] for each student (and its teacher). */
  readonly views: ReadonlyArray<tfjs.Tensor4D>
  /** [N] int32. */
  readonly labels: tfjs.Tensor1D
  /** What the dropout of each network follows, by the network's name: [2] int32. */
  readonly seeds?: ReadonlyMap<string, tfjs.Tensor1D>
}

/** The weighted loss terms of one student; its soft labels are `peer`'s outputs, through which no gradient flows. */
const lossTerms = (
  tf: TensorFlow,
  student: Forward,
  peer: Forward | undefined,
  labels: tfjs.Tensor1D,
  settings: LossSettings
): ReadonlyArray<readonly [weight: number, value: tfjs.Scalar]> => {
  const { labelSmoothing, tripletMargin, distanceGradient } = settings
  const distances = pairwiseDistances(tf, student.feature, distanceGradient)
  const pairs = mineHardPairs(tf, distances, labels)
  const term = {
    ce: () => smoothedCrossEntropy(tf, student.logits, labels, labelSmoothing),
    tri: () =>
      tripletMargin > 0 ? marginTriplet(tf, distances, pairs, tripletMargin) : softmaxTriplet(tf, distances, pairs),
    softCe: () => softCrossEntropy(tf, student.logits, peer!.logits),
    softTri: () => softSoftmaxTriplet(tf, distances, pairwiseDistances(tf, constant(tf, peer!.feature)), pairs)
  }
  return termWeights(settings)
    .filter(([, weight]) => weight > 0)
    .map(([name, weight]) => [weight, term[name]()])
}

export interface LossAndGradients {
  /** In the order of `lossNames`. The caller disposes it. */
  readonly losses: tfjs.Tensor1D
  /** By student and parameter, `student-1/backbone.conv1.weight` …; the caller disposes them. */
  readonly gradients: Readonly<Record<string, tfjs.Tensor>>
}

/** The trained parameters of the networks, by `network/parameter`. */
export const parametersOf = (networks: ReadonlyArray<Network>): ReadonlyMap<string, tfjs.Variable> =>
  new Map(
    networks.flatMap(({ name, parameters }) =>
      [...parameters].map(([key, value]) => [`${name}/${key}`, value] as const)
    )
  )

/**
 * Losses and gradients of one batch (lines 6 to 9 of Algorithm 1): all networks run in training mode, the teachers
 * without gradient; student 1 learns from teacher 2 and student 2 from teacher 1, or each from the other student. Teachers run
 * also where no loss reads them: their running statistics come from their own forward passes.
 */
export const lossAndGradients = (
  tf: TensorFlow,
  students: ReadonlyArray<Network>,
  teachers: ReadonlyArray<Network>,
  { views, labels, seeds }: TrainBatch,
  settings: LossSettings
): LossAndGradients => {
  let losses: tfjs.Tensor1D | undefined
  const forward = (network: Network, images: tfjs.Tensor4D) =>
    network.forward(images, "train", seeds?.get(network.name))
  const gradients = tf.tidy(() => {
    // Beside the first student, who holds all that its gradient needs, the teachers run, the first student's own last, and
    // then the second student: so the two students' memory is at its peak at different times.
    const taught: Array<Forward> = []
    for (const i of [...teachers.keys()].reverse()) {
      const images = taught[i + 1] ? after(tf, views[i]!, taught[i + 1]!.logits) : views[i]!
      taught[i] = forward(teachers[i]!, images)
    }
    const totalLoss = () => {
      const learning = students.map((student, i) => {
        const images = i > 0 && taught[0] ? after(tf, views[i]!, taught[0].logits) : views[i]!
        return forward(student, images)
      })
      const peers = settings.softLabels === "students" ? learning : taught
      const terms = learning.flatMap((student, i) =>
        lossTerms(tf, student, peers[students.length - 1 - i], labels, settings)
      )
      const total = tf.addN(terms.map(([weight, value]) => tf.mul(value, weight) as tfjs.Scalar))
      losses = tf.keep(tf.stack([...terms.map(([, value]) => value), total])) as tfjs.Tensor1D
      return total
    }
    const parameters = parametersOf(students)
    const { grads } = tf.variableGrads(totalLoss, [...parameters.values()])
    return Object.fromEntries([...parameters].map(([name, variable]) => [name, grads[variable.name]!]))
  })
  return { losses: losses!, gradients }
}
