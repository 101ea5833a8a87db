/**
 * One network: backbone → global pool → feature f → BNNeck → b → linear classifier without bias. Its variables live in an
 * engine session; its tensors come and go by PyTorch's names and layouts.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { Schema } from "effect"
import { averagePool } from "#engine/layers.ts"
import { type SessionShape, valuesOf } from "#engine/session.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"
import { dimensionOf, geometryOf, type ModelConfig } from "#model/config.ts"
import {
  evaluationNorm,
  type Folded,
  foldConvolutions,
  foldedConvolutions,
  gemPool,
  type NormLayer,
  normalisedConvolutions,
  trainingNorm
} from "#model/layers.ts"
import {
  batchNormSpecs,
  type ConvolutionLayer,
  convolutionsOf,
  resnetForward,
  resnetTensors,
  type TensorSpec
} from "#model/resnet.ts"

/** Whether BatchNorm uses and updates by the batch's own statistics, or uses the running ones. */
export type Mode = "train" | "evaluate"

export interface Forward {
  /** Pooled feature f [N, D]: what the triplet losses compare. */
  readonly feature: tfjs.Tensor2D
  /** BNNeck's output b [N, D]: L2-normalised, it is the embedding. */
  readonly neck: tfjs.Tensor2D
  /** Class scores [N, classes]. */
  readonly logits: tfjs.Tensor2D
}

/** A training batch cannot be cut into BatchNorm's groups. */
export class BatchNotDivisible extends Schema.TaggedError<BatchNotDivisible>()("BatchNotDivisible", {
  images: Schema.Int,
  samplesPerBatchNorm: Schema.Int
}) {
  override get message() {
    return `a training batch of ${this.images} images, expected a multiple of ${this.samplesPerBatchNorm}, the model's samplesPerBatchNorm; change one of the two`
  }
}

/** A tensor outside the engine: PyTorch's layout, row-major. int64 counts are kept as one float64. */
export interface HostTensor {
  readonly shape: ReadonlyArray<number>
  readonly values: Float32Array | Float64Array
}

export interface Network {
  readonly name: string
  readonly config: ModelConfig
  readonly dimension: number
  /** Throws `BatchNotDivisible` in training, where the model has `samplesPerBatchNorm`. */
  readonly forward: (images: tfjs.Tensor4D, mode: Mode) => Forward
  /** The present convolutions with their BatchNorm in them, for `embed`; the caller disposes them. */
  readonly fold: () => Folded
  /** b [N, D] alone, by the running statistics. */
  readonly embed: (images: tfjs.Tensor4D, folded?: Folded) => tfjs.Tensor2D
  /** Trained variables by name: what the optimizer and the mean teacher move. */
  readonly parameters: ReadonlyMap<string, tfjs.Variable>
  /** The parameters and the running statistics, by name. */
  readonly variables: ReadonlyMap<string, tfjs.Variable>
  /** Those variables that `embed` reads beside what is folded. */
  readonly embeddingVariables: () => ReadonlyArray<tfjs.Variable>
  /** Counts batches of training for BatchNorm's `num_batches_tracked`. */
  readonly countBatches: (batches: number) => void
  /** All tensors by name, in the order of PyTorch's state_dict. */
  readonly read: () => ReadonlyMap<string, HostTensor>
  /** A tensor in the layout of the parameter `name` as the engine's variable has it, and back. */
  readonly toEngine: (name: string, tensor: HostTensor) => tfjs.Tensor
  readonly toHost: (name: string, value: tfjs.Tensor) => HostTensor
  /** Replaces the classifier by weights [classes, D] (row-major): its rows are the classes. */
  readonly setClassifier: (weights: Float32Array) => void
  readonly classes: () => number
}

const backbonePrefix = "backbone."
const exponentName = "global_pooling.p"
const classifierName = "classifier.weight"

/** Tensors of a network with `classes` classes, in state_dict order. */
export const networkTensors = (config: ModelConfig, classes: number): ReadonlyArray<TensorSpec> => {
  const dimension = dimensionOf(config)
  return [
    ...resnetTensors(geometryOf(config)).map((spec) => ({ ...spec, name: `${backbonePrefix}${spec.name}` })),
    ...(config.pooling === "gem" ? [{ name: exponentName, shape: [1], kind: "exponent" } as const] : []),
    ...batchNormSpecs("head.feat_bn", dimension, "frozen"),
    { name: classifierName, shape: [classes, dimension], kind: "linear" }
  ]
}

/** Of the head, the pooling and instance normalisation; all others are the classifier's, or in the folded convolutions. */
const isUnfolded = (key: string) => /^head\.|^global_pooling\.|\.IN\./.test(key)

const isTrained = ({ kind }: TensorSpec) =>
  kind === "kernel" || kind === "scale" || kind === "shift" || kind === "exponent" || kind === "linear"

/** Parts of a batch of images that a compiled graph can compute at the same time, by one core each. */
const parts = 4

/** The images in up to so many parts of about the same size. */
const sideBySide = (tf: TensorFlow, images: tfjs.Tensor4D): ReadonlyArray<tfjs.Tensor4D> => {
  const count = Math.min(parts, images.shape[0])
  const bounds = Array.from({ length: count + 1 }, (_, i) => Math.floor((i * images.shape[0]) / count))
  return tf.split(
    images,
    bounds.slice(1).map((end, i) => end - bounds[i]!),
    0
  )
}

/** Declares the network's variables in the session with the given values; every name of `networkTensors` must be there. */
export const makeNetwork = (
  session: SessionShape,
  name: string,
  config: ModelConfig,
  tensors: ReadonlyMap<string, HostTensor>
): Network => {
  const { tf } = session
  const geometry = geometryOf(config)
  const dimension = dimensionOf(config)
  const specs = networkTensors(config, tensors.get(classifierName)!.shape[0]!)
  const kernels = new Set(specs.filter(({ kind }) => kind === "kernel").map((spec) => spec.name))
  const toEngine = (key: string, { values, shape }: HostTensor): tfjs.Tensor => {
    const tensor = tf.tensor(values as Float32Array, [...shape], "float32")
    return kernels.has(key) ? tf.transpose(tensor, [2, 3, 1, 0]) : tensor
  }
  const toHost = (key: string, value: tfjs.Tensor): HostTensor => {
    if (!kernels.has(key)) return { shape: value.shape, values: value.dataSync() as Float32Array }
    const [height, width, input, output] = value.shape as [number, number, number, number]
    const values = valuesOf(tf, () => tf.transpose(value, [3, 2, 0, 1])) as Float32Array
    return { shape: [output, input, height, width], values }
  }

  const variables = new Map<string, tfjs.Variable>()
  const parameters = new Map<string, tfjs.Variable>()
  const counts = new Map<string, number>()
  const declare = (spec: TensorSpec, value: () => tfjs.Tensor) => {
    const variable = session.variable(`${name}/${spec.name}`, value)
    variables.set(spec.name, variable)
    if (isTrained(spec)) parameters.set(spec.name, variable)
  }
  for (const spec of specs) {
    const tensor = tensors.get(spec.name)!
    if (spec.kind === "count") counts.set(spec.name, tensor.values[0]!)
    else declare(spec, () => toEngine(spec.name, tensor))
  }

  const variable = (key: string) => variables.get(key)!
  const backbone = new Map(
    [...variables]
      .filter(([key]) => key.startsWith(backbonePrefix))
      .map(([key, value]) => [key.slice(backbonePrefix.length), value])
  )
  const pooled = (images: tfjs.Tensor4D, layer: ConvolutionLayer) => {
    const map = resnetForward(tf, geometry, layer, images, config.stemRelu).at(-1)!
    return config.pooling === "gem" ? gemPool(tf, map, variable(exponentName)) : averagePool(tf, map)
  }
  const fold = () => foldConvolutions(tf, backbone, convolutionsOf(geometry))
  const neck = (feature: tfjs.Tensor2D, norm: NormLayer) =>
    // The engine's BatchNorm takes images: one of 1×1 a row.
    tf.reshape(norm("head.feat_bn", tf.reshape(feature, [-1, 1, 1, dimension])), [-1, dimension]) as tfjs.Tensor2D
  const normOf = (of: ReadonlyMap<string, tfjs.Variable>, mode: Mode) =>
    mode === "train" ? trainingNorm(tf, of, config.samplesPerBatchNorm) : evaluationNorm(tf, of)

  return {
    name,
    config,
    dimension,
    parameters,
    variables,
    embeddingVariables: () => [...variables].filter(([key]) => isUnfolded(key)).map(([, value]) => value),
    countBatches: (batches) => {
      for (const [key, count] of counts) counts.set(key, count + batches)
    },
    forward: (images, mode) => {
      const { samplesPerBatchNorm = 1 } = config
      if (mode === "train" && images.shape[0] % samplesPerBatchNorm !== 0)
        throw new BatchNotDivisible({ images: images.shape[0], samplesPerBatchNorm })
      const feature = pooled(images, normalisedConvolutions(tf, backbone, normOf(backbone, mode)))
      const b = neck(feature, normOf(variables, mode))
      return { feature, neck: b, logits: tf.matMul(b, variable(classifierName) as tfjs.Tensor2D, false, true) }
    },
    fold,
    embed: (images, given) =>
      tf.tidy(() => {
        const layer = foldedConvolutions(tf, backbone, given ?? fold())
        const features = sideBySide(tf, images).map((part) => pooled(part, layer))
        return neck(tf.concat(features), evaluationNorm(tf, variables))
      }),
    toEngine,
    toHost,
    read: () =>
      new Map(
        specs.map(({ kind, name: key, shape }) => [
          key,
          kind === "count" ? { shape, values: Float64Array.of(counts.get(key)!) } : toHost(key, variable(key))
        ])
      ),
    setClassifier: (weights) => {
      const shape: [number, number] = [weights.length / dimension, dimension]
      declare({ name: classifierName, shape, kind: "linear" }, () => tf.tensor2d(weights, shape))
    },
    classes: () => variable(classifierName).shape[0]!
  }
}
