/**
 * Updates of a variable by a training step. On the CPU each is one op of `addon/updates.cc`, which reads and writes every value
 * once; on a GPU it is composed of tfjs's ops.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { backendOf, runOp } from "#engine/op.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"

export interface AdamCoefficients {
  readonly weightDecay: number
  readonly beta1: number
  readonly beta2: number
  readonly epsilon: number
}

/** A variable with its first and second moment, all of one shape. */
export type AdamState = readonly [variable: tfjs.Tensor, m: tfjs.Tensor, v: tfjs.Tensor]

/** One step of Adam: the moved variable and moments. `stepSize` and `correction` are scalars. */
export type AdamStep = (
  tf: TensorFlow,
  state: AdamState,
  gradient: tfjs.Tensor,
  stepSize: tfjs.Scalar,
  correction: tfjs.Scalar,
  coefficients: AdamCoefficients
) => AdamState

/**
 * Adam as PyTorch's `torch.optim.Adam`: weight decay is added to the gradient before the moments (coupled L2), ε to the root
 * of the corrected second moment. `stepSize` is lr / (1 − β1^t), `correction` √(1 − β2^t).
 */
export const adamStep: AdamStep = (tf, ...given) =>
  (backendOf(tf).isUsingGpuDevice ? composedAdamStep : fusedAdamStep)(tf, ...given)

/** By the CPU's own op. */
export const fusedAdamStep: AdamStep = (tf, state, gradient, stepSize, correction, coefficients) => {
  const { weightDecay, beta1, beta2, epsilon } = coefficients
  const attributes = {
    weight_decay: { float: weightDecay },
    beta1: { float: beta1 },
    rest1: { float: 1 - beta1 },
    beta2: { float: beta2 },
    rest2: { float: 1 - beta2 },
    epsilon: { float: epsilon }
  } as const
  return runOp(tf, "MmtAdam", attributes, [...state, gradient, stepSize, correction], 3)
}

/** By tfjs's ops, on any device. */
export const composedAdamStep: AdamStep = (tf, [variable, m, v], gradient, stepSize, correction, coefficients) => {
  const { weightDecay, beta1, beta2, epsilon } = coefficients
  const decayed = weightDecay === 0 ? gradient : tf.add(gradient, tf.mul(variable, weightDecay))
  const movedM = tf.add(tf.mul(m, beta1), tf.mul(decayed, 1 - beta1))
  const movedV = tf.add(tf.mul(v, beta2), tf.mul(tf.square(decayed), 1 - beta2))
  const denominator = tf.add(tf.div(tf.sqrt(movedV), correction), epsilon)
  return [tf.sub(variable, tf.mul(tf.div(movedM, denominator), stepSize)), movedM, movedV]
}

/** a · x + b · y, of two tensors of one shape by two scalars. */
export const blend = (tf: TensorFlow, a: tfjs.Scalar, x: tfjs.Tensor, b: tfjs.Scalar, y: tfjs.Tensor): tfjs.Tensor =>
  backendOf(tf).isUsingGpuDevice ? tf.add(tf.mul(x, a), tf.mul(y, b)) : runOp(tf, "MmtBlend", {}, [x, y, a, b], 1)[0]
