import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { Effect, Schema } from "effect"
import { describe, it } from "vitest"
import { Session } from "#engine/session.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"
import {
  type DistanceGradient,
  marginTriplet,
  mineHardPairs,
  pairwiseDistances,
  smoothedCrossEntropy,
  softCrossEntropy,
  softmaxTriplet,
  softSoftmaxTriplet
} from "#model/losses.ts"
import { type GoldenCase, goldenCase, type Values } from "../golden-values.ts"
import { run } from "../stages/run-stage.ts"

const losses = goldenCase("losses", Schema.Struct({ epsilon: Schema.Finite, margin_triplet: Schema.Finite }))
const irregular = goldenCase("losses_irregular", Schema.Struct({}))
const margin = losses.params.margin_triplet

const matrix = (tf: TensorFlow, { values, shape }: Values<Float32Array>) =>
  tf.tensor2d(values, shape as [number, number])

const labelsOf = (tf: TensorFlow, golden: GoldenCase<unknown>) =>
  tf.tensor1d(golden.input("label", Int32Array).values, "int32")

/** Value and gradient of one loss against the case's scalar of its name and the gradient output. */
const check = (
  tf: TensorFlow,
  golden: GoldenCase<unknown>,
  name: string,
  gradient: string,
  loss: (x: tfjs.Tensor2D) => tfjs.Scalar,
  at: tfjs.Tensor2D
) => {
  const { value, grad } = tf.valueAndGrad((x) => loss(x as tfjs.Tensor2D))(at)
  golden.check(name, value.dataSync())
  golden.check(gradient, grad.dataSync())
}

const withTensorFlow = (body: (tf: TensorFlow) => void) => run(Effect.map(Session, ({ tf }) => tf.tidy(() => body(tf))))

describe("golden: losses", () => {
  it("smoothed cross entropy", () =>
    withTensorFlow((tf) => {
      const labels = labelsOf(tf, losses)
      const loss = (x: tfjs.Tensor2D) => smoothedCrossEntropy(tf, x, labels, losses.params.epsilon)
      const logits = matrix(tf, losses.input("s1_logits", Float32Array))
      check(tf, losses, "ce_smooth", "d_ce_smooth_logits", loss, logits)
    }))

  it("soft cross entropy", () =>
    withTensorFlow((tf) => {
      const teacher = matrix(tf, losses.input("t2_logits", Float32Array))
      const logits = matrix(tf, losses.input("s1_logits", Float32Array))
      check(tf, losses, "soft_ce", "d_soft_ce_logits", (x) => softCrossEntropy(tf, x, teacher), logits)
    }))

  it("mined pairs", () =>
    withTensorFlow((tf) => {
      const distances = pairwiseDistances(tf, matrix(tf, losses.input("s1_feat", Float32Array)))
      const { positive, negative } = mineHardPairs(tf, distances, labelsOf(tf, losses))
      losses.check("hard_pos", tf.argMax(positive, 1).dataSync(), "exact")
      losses.check("hard_neg", tf.argMax(negative, 1).dataSync(), "exact")
      // The set has no tolerance of the distances' own.
      const tolerance = losses.tolerance("softmax_triplet")
      losses.check("d_ap", tf.sum(tf.mul(distances, positive), 1).dataSync(), tolerance)
      losses.check("d_an", tf.sum(tf.mul(distances, negative), 1).dataSync(), tolerance)
    }))
})

const gradients: ReadonlyArray<readonly [DistanceGradient, string]> = [
  ["full", ""],
  ["anchor-only", "_anchor_only"]
]
const triplets = [
  [losses, "s1_feat", "t2_feat"],
  [irregular, "feat", "teacher_feat"]
] as const

for (const [golden, student, teacher] of triplets)
  for (const [gradient, suffix] of gradients) {
    if (!golden.outputs.includes(`d_softmax_triplet_feat${suffix}`)) continue
    describe(`golden: ${golden.id}, gradient ${gradient}`, () => {
      const triplet = (
        name: string,
        loss: (tf: TensorFlow, distances: tfjs.Tensor2D, labels: tfjs.Tensor1D) => tfjs.Scalar
      ) =>
        it(name, () =>
          withTensorFlow((tf) => {
            const labels = labelsOf(tf, golden)
            const value = (x: tfjs.Tensor2D) => loss(tf, pairwiseDistances(tf, x, gradient), labels)
            check(tf, golden, name, `d_${name}_feat${suffix}`, value, matrix(tf, golden.input(student, Float32Array)))
          })
        )
      triplet("softmax_triplet", (tf, d, labels) => softmaxTriplet(tf, d, mineHardPairs(tf, d, labels)))
      triplet("margin_triplet", (tf, d, labels) => marginTriplet(tf, d, mineHardPairs(tf, d, labels), margin))
      triplet("soft_softmax_triplet", (tf, d, labels) => {
        const taught = pairwiseDistances(tf, matrix(tf, golden.input(teacher, Float32Array)))
        return softSoftmaxTriplet(tf, d, taught, mineHardPairs(tf, d, labels))
      })
    })
  }
