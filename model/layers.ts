/**
 * The layers of a network on its variables: convolutions with their normalisation, as they are in training and in evaluation
 * or folded into one for inference; the pooling of a feature map.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { biasedConv2d, conv2d } from "#engine/convolution.ts"
import {
  type Affine,
  type After,
  type BatchNorm,
  batchNormEvaluate,
  batchNormTrain,
  evaluationAffine,
  followed,
  instanceNorm
} from "#engine/normalisation.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"
import type { Convolution, ConvolutionLayer } from "#model/resnet.ts"

/** Variables by the names of PyTorch's state_dict. */
export type Variables = ReadonlyMap<string, tfjs.Variable>

/** A BatchNorm by its name, on x [N, H, W, C], and what follows it. */
export type NormLayer = (name: string, x: tfjs.Tensor4D, after?: After) => tfjs.Tensor4D

const affineOf = (variables: Variables, name: string): Affine => ({
  scale: variables.get(`${name}.weight`)!,
  shift: variables.get(`${name}.bias`)!
})

const batchNormOf = (variables: Variables, name: string): BatchNorm => ({
  ...affineOf(variables, name),
  runningMean: variables.get(`${name}.running_mean`)!,
  runningVariance: variables.get(`${name}.running_var`)!
})

/** BatchNorm by the batch's statistics; with `samples`, each consecutive group of so many images by its own. */
export const trainingNorm =
  (tf: TensorFlow, variables: Variables, samples: number | undefined): NormLayer =>
  (name, x, after) =>
    batchNormTrain(tf, x, batchNormOf(variables, name), after, samples === undefined ? 1 : x.shape[0] / samples)

/** BatchNorm by the running statistics. */
export const evaluationNorm =
  (tf: TensorFlow, variables: Variables): NormLayer =>
  (name, x, after) =>
    batchNormEvaluate(tf, x, batchNormOf(variables, name), after)

const convolve = (tf: TensorFlow, { size, stride }: Convolution, x: tfjs.Tensor4D, kernel: tfjs.Tensor) =>
  conv2d(tf, x, kernel as tfjs.Tensor4D, stride, (size - 1) / 2)

/**
 * The channels of `x` that are instance normalisation's, normalised by it and followed by a ReLU where one is asked for, beside
 * the others as `rest` makes them. (A residual follows no instance normalisation.)
 */
const withInstanceNorm = (
  tf: TensorFlow,
  variables: Variables,
  { norm, channels, instanceChannels }: Convolution,
  x: tfjs.Tensor4D,
  { relu = false }: After,
  rest: (x: tfjs.Tensor4D) => tfjs.Tensor4D
): tfjs.Tensor4D => {
  if (instanceChannels === 0) return rest(x)
  const [first, others] = tf.split(x, [instanceChannels, channels - instanceChannels], 3) as Array<tfjs.Tensor4D>
  return tf.concat([instanceNorm(tf, first!, affineOf(variables, `${norm}.IN`), { relu }), rest(others!)], 3)
}

const batchNormName = ({ norm, instanceChannels }: Convolution) => (instanceChannels > 0 ? `${norm}.BN` : norm)

/** Convolutions followed by their normalisation. */
export const normalisedConvolutions =
  (tf: TensorFlow, variables: Variables, norm: NormLayer): ConvolutionLayer =>
  (convolution, x, after = {}) => {
    const y = convolve(tf, convolution, x, variables.get(`${convolution.name}.weight`)!)
    return withInstanceNorm(tf, variables, convolution, y, after, (rest) =>
      norm(batchNormName(convolution), rest, after)
    )
  }

/** Kernels and biases of convolutions by `NAME.kernel` and `NAME.bias`, with their BatchNorm in them. */
export type Folded = ReadonlyMap<string, tfjs.Tensor>

/**
 * Folds each BatchNorm into its convolution, for inference: its factor is in the kernel, and its offset is the bias.
 * Channels of an instance normalisation are left as they are.
 */
export const foldConvolutions = (
  tf: TensorFlow,
  variables: Variables,
  convolutions: ReadonlyArray<Convolution>
): Folded =>
  new Map(
    convolutions.flatMap((convolution) => {
      const { name, instanceChannels } = convolution
      const { factor, offset } = evaluationAffine(tf, batchNormOf(variables, batchNormName(convolution)))
      const before = (value: number, rest: tfjs.Tensor) =>
        instanceChannels === 0 ? rest : tf.concat([tf.fill([instanceChannels], value), rest])
      const kernel = tf.mul(variables.get(`${name}.weight`)!, before(1, factor))
      return [[`${name}.kernel`, kernel] as const, [`${name}.bias`, before(0, offset)] as const]
    })
  )

/** Folded convolutions; instance normalisation has its own `variables`. */
export const foldedConvolutions =
  (tf: TensorFlow, variables: Variables, folded: Folded): ConvolutionLayer =>
  (convolution, x, after = {}) => {
    const { name, size, stride, instanceChannels } = convolution
    const [kernel, bias] = [folded.get(`${name}.kernel`) as tfjs.Tensor4D, folded.get(`${name}.bias`)!]
    const convolved = (following: After) => biasedConv2d(tf, x, kernel, stride, (size - 1) / 2, bias, following)
    if (instanceChannels === 0) return convolved(after)
    return withInstanceNorm(tf, variables, convolution, convolved({}), after, (rest) => followed(tf, rest, after))
  }

/**
 * GeM pooling, mean(max(x, 1e-6)^p)^(1/p) [N, C] over a map [N, h, w, C]; `p` [1].
 * Source: Radenović et al., TPAMI 2019; OpenUnReID's `GeneralizedMeanPoolingP`.
 */
export const gemPool = (tf: TensorFlow, map: tfjs.Tensor4D, p: tfjs.Tensor): tfjs.Tensor2D => {
  // Powers by way of logarithms: the gradients of both x and p need no other power.
  const powers = tf.exp(tf.mul(tf.log(tf.maximum(map, 1e-6)), p))
  return tf.exp(tf.div(tf.log(tf.mean(powers, [1, 2])), p))
}
