/**
 * The losses of MMT on one network's outputs, each the mean over the batch.
 * Source: Ge et al., ICLR 2020, equations 4 to 9; the authors' `mmt/loss`, OpenUnReID's `models/losses`.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import type { TensorFlow } from "#engine/tensorflow.ts"

type Matrix = tfjs.Tensor2D
type Loss = tfjs.Scalar

/** Label-smoothed cross entropy: targets (1 − ε)·onehot + ε/classes. `logits` [N, classes], `labels` [N] int32. */
export const smoothedCrossEntropy = (tf: TensorFlow, logits: Matrix, labels: tfjs.Tensor1D, epsilon = 0.1): Loss => {
  const classes = logits.shape[1]
  const onehot = tf.cast(tf.oneHot(labels, classes), "float32")
  const targets = tf.add(tf.mul(onehot, 1 - epsilon), epsilon / classes)
  return crossEntropy(tf, targets as Matrix, tf.logSoftmax(logits))
}

/** −Σ softmax(teacher) · log softmax(student); the teacher gets no gradient. Both [N, classes]. */
export const softCrossEntropy = (tf: TensorFlow, student: Matrix, teacher: Matrix): Loss =>
  crossEntropy(tf, constant(tf, tf.softmax(teacher)), tf.logSoftmax(student))

const crossEntropy = (tf: TensorFlow, targets: Matrix, logProbabilities: Matrix): Loss =>
  tf.neg(tf.mean(tf.sum(tf.mul(targets, logProbabilities), 1)))

/** Which operand of a distance carries the gradient: both (the original code), or the anchor alone (OpenUnReID). */
export type DistanceGradient = "full" | "anchor-only"

/**
 * Euclidean distances [N, N] between the rows of `feature` [N, D], which are not normalised:
 * sqrt(max(‖a‖² + ‖b‖² − 2ab, 1e-12)).
 */
export const pairwiseDistances = (tf: TensorFlow, feature: Matrix, gradient: DistanceGradient = "full"): Matrix => {
  const other = gradient === "full" ? feature : constant(tf, feature)
  const norms = (x: Matrix) => tf.sum(tf.square(x), 1, true)
  const squared = tf.sub(
    tf.add(norms(feature), tf.transpose(norms(other))),
    tf.mul(2, tf.matMul(feature, other, false, true))
  )
  return tf.sqrt(tf.maximum(squared, 1e-12))
}

/** The hard pairs of a batch: for each anchor one mask over the batch with a single 1. Both [N, N]. */
export interface HardPairs {
  readonly positive: Matrix
  readonly negative: Matrix
}

// Larger than any distance: masks pairs out, as the reference's 9999999 does.
const far = 9999999

/**
 * Batch-hard mining: the farthest of the anchor's own label (the anchor itself counts, and wins only where it is the
 * only one) and the nearest of another. `distances` [N, N], `labels` [N] int32.
 */
export const mineHardPairs = (tf: TensorFlow, distances: Matrix, labels: tfjs.Tensor1D): HardPairs => {
  const n = labels.shape[0]
  const same = tf.cast(tf.equal(tf.reshape(labels, [n, 1]), tf.reshape(labels, [1, n])), "float32")
  const farthest = tf.argMax(tf.sub(distances, tf.mul(far, tf.sub(1, same))), 1)
  const nearest = tf.argMin(tf.add(distances, tf.mul(far, same)), 1)
  const mask = (index: tfjs.Tensor) => constant(tf, tf.cast(tf.oneHot(index as tfjs.Tensor1D, n), "float32") as Matrix)
  return { positive: mask(farthest), negative: mask(nearest) }
}

/** [N, 2]: the distances of each anchor to its hard positive and its hard negative. */
const pairDistances = (tf: TensorFlow, distances: Matrix, { positive, negative }: HardPairs): Matrix =>
  tf.stack([tf.sum(tf.mul(distances, positive), 1), tf.sum(tf.mul(distances, negative), 1)], 1) as Matrix

/** Softmax-triplet: −log( exp(d_an) / (exp(d_ap) + exp(d_an)) ). `distances` [N, N]. */
export const softmaxTriplet = (tf: TensorFlow, distances: Matrix, pairs: HardPairs): Loss => {
  const logs = tf.logSoftmax(pairDistances(tf, distances, pairs))
  return tf.neg(tf.mean(tf.slice(logs, [0, 1], [-1, 1])))
}

/**
 * Soft softmax-triplet: cross entropy between the teacher's and the student's softmax over (d_ap, d_an), the pairs
 * mined on the student. The teacher gets no gradient. Both [N, N].
 */
export const softSoftmaxTriplet = (tf: TensorFlow, student: Matrix, teacher: Matrix, pairs: HardPairs): Loss =>
  softCrossEntropy(tf, pairDistances(tf, student, pairs), pairDistances(tf, teacher, pairs))

/** Triplet loss with a margin: max(0, d_ap − d_an + margin). `distances` [N, N]. */
export const marginTriplet = (tf: TensorFlow, distances: Matrix, pairs: HardPairs, margin: number): Loss => {
  const [positive, negative] = tf.unstack(pairDistances(tf, distances, pairs), 1) as [tfjs.Tensor1D, tfjs.Tensor1D]
  return tf.mean(tf.relu(tf.add(tf.sub(positive, negative), margin)))
}

/** The same values as a constant: no gradient flows into it. */
export const constant = (tf: TensorFlow, x: Matrix): Matrix =>
  tf.customGrad((value) => ({ value: tf.clone(value as tfjs.Tensor), gradFunc: (dy) => [tf.zerosLike(dy)] }))(
    x
  ) as Matrix
