/**
 * One network: backbone → global pool → feature f → BNNeck → b → dropout → linear classifier without bias. Its variables live in an
 * engine session; its tensors come and go by PyTorch's names and layouts.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { Schema } from "effect"
import { averagePool } from "#engine/pooling.ts"
import type { SessionShape } from "#engine/session.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"
import { embeddingDimensionOf, geometryOf, type ModelConfig } from "#model/config.ts"
import { dropped, headTensors, neck } from "#model/head.ts"
import {
  evaluationNorm,
  type Folded,
  foldConvolutions,
  foldedConvolutions,
  gemPool,
  normalisedConvolutions,
  trainingNorm
} from "#model/layers.ts"
import { type ConvolutionLayer, convolutionsOf, resnetForward, resnetTensors, type TensorSpec } from "#model/resnet.ts"

/** Whether BatchNorm uses and updates by the batch's own statistics, with dropout, or uses the running ones, without. */
export type Mode = "train" | "evaluate"

export interface Forward {
  /** Pooled feature f [N, C]: what the triplet losses compare. */
  readonly feature: tfjs.Tensor2D
  /** BNNeck's output b [N, D]: L2-normalised, that of evaluation is the embedding. */
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
  /** Numbers in an embedding. */
  readonly dimension: number
  /**
   * Throws `BatchNotDivisible` in training, where the model has `samplesPerBatchNorm`. Training of a model with dropout needs a
   * `seed` [2] int32 for its mask.
   */
  readonly forward: (images: tfjs.Tensor4D, mode: Mode, seed?: tfjs.Tensor1D) => Forward
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
export const classifierName = "classifier.weight"

/** Tensors of a network with `classes` classes, in state_dict order. */
export const networkTensors = (config: ModelConfig, classes: number): ReadonlyArray<TensorSpec> => [
  ...resnetTensors(geometryOf(config)).map((spec) => ({ ...spec, name: `${backbonePrefix}${spec.name}` })),
  ...(config.pooling === "gem" ? [{ name: exponentName, shape: [1], kind: "exponent" } as const] : []),
  ...headTensors(config),
  { name: classifierName, shape: [classes, embeddingDimensionOf(config)], kind: "linear" }
]

/** Of the head, the pooling and instance normalisation; all others are the classifier's, or in the folded convolutions. */
const isUnfolded = (key: string) => /^head\.|^global_pooling\.|\.IN\./.test(key)

const untrained: ReadonlyArray<TensorSpec["kind"]> = ["mean", "variance", "count", "frozen"]

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

type FourNumbers = [number, number, number, number]

/** Values of [a, b, c] as [c, b, a]: a kernel by PyTorch's layout as the engine's, and back. */
const axesReversed = (values: Float32Array, a: number, b: number, c: number): Float32Array => {
  const reversed = new Float32Array(values.length)
  let from = 0
  for (let i = 0; i < a; i++)
    for (let j = 0; j < b; j++) for (let k = 0; k < c; k++) reversed[(k * b + j) * a + i] = values[from++]!
  return reversed
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
  const dimension = embeddingDimensionOf(config)
  const specs = networkTensors(config, tensors.get(classifierName)!.shape[0]!)
  const kernels = new Set(specs.filter(({ kind }) => kind === "kernel").map((spec) => spec.name))
  const toEngine = (key: string, { values, shape }: HostTensor): tfjs.Tensor => {
    const tensor = tf.tensor(values as Float32Array, [...shape], "float32")
    // By the engine, whose memory is freed at once: the collector would leave the kernels of all networks twice for a while.
    return kernels.has(key) ? tf.transpose(tensor, [2, 3, 1, 0]) : tensor
  }
  const toHost = (key: string, value: tfjs.Tensor): HostTensor => {
    const values = value.dataSync() as Float32Array
    if (!kernels.has(key)) return { shape: value.shape, values }
    const [height, width, input, output] = value.shape as FourNumbers
    return { shape: [output, input, height, width], values: axesReversed(values, height * width, input, output) }
  }

  const variables = new Map<string, tfjs.Variable>()
  const parameters = new Map<string, tfjs.Variable>()
  const counts = new Map<string, number>()
  const declare = (spec: TensorSpec, value: () => tfjs.Tensor) => {
    const variable = session.variable(`${name}/${spec.name}`, value)
    variables.set(spec.name, variable)
    if (!untrained.includes(spec.kind)) parameters.set(spec.name, variable)
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
    forward: (images, mode, seed) => {
      const { samplesPerBatchNorm = 1 } = config
      if (mode === "train" && images.shape[0] % samplesPerBatchNorm !== 0)
        throw new BatchNotDivisible({ images: images.shape[0], samplesPerBatchNorm })
      const feature = pooled(images, normalisedConvolutions(tf, backbone, normOf(backbone, mode)))
      const b = neck(tf, config, variables, normOf(variables, mode), feature, mode)
      const classified = mode === "train" ? dropped(tf, config, b, seed) : b
      const logits: tfjs.Tensor2D = tf.matMul(classified, variable(classifierName) as tfjs.Tensor2D, false, true)
      return { feature, neck: b, logits }
    },
    fold,
    embed: (images, given) =>
      tf.tidy(() => {
        const layer = foldedConvolutions(tf, backbone, given ?? fold())
        const features = sideBySide(tf, images).map((part) => pooled(part, layer))
        return neck(tf, config, variables, evaluationNorm(tf, variables), tf.concat(features), "evaluate")
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
