/**
 * One network: backbone → global average pool → feature f → BNNeck → b → linear classifier without bias. Its variables
 * live in an engine session; its tensors come and go by PyTorch's names and layouts.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { type BatchNorm, batchNormEvaluate, batchNormTrain } from "#engine/layers.ts"
import { type SessionShape, valuesOf } from "#engine/session.ts"
import { geometryOf, type ModelConfig } from "#model/config.ts"
import { batchNormSpecs, resnetForward, resnetTensors, type TensorSpec } from "#model/resnet.ts"

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

/** A tensor outside the engine: PyTorch's layout, row-major. int64 counts are kept as one float64. */
export interface HostTensor {
  readonly shape: ReadonlyArray<number>
  readonly values: Float32Array | Float64Array
}

export interface Network {
  readonly name: string
  readonly config: ModelConfig
  readonly dimension: number
  readonly forward: (images: tfjs.Tensor4D, mode: Mode) => Forward
  /** b [N, D] alone, by the running statistics. */
  readonly embed: (images: tfjs.Tensor4D) => tfjs.Tensor2D
  /** Trained variables by name: what the optimizer and the mean teacher move. */
  readonly parameters: ReadonlyMap<string, tfjs.Variable>
  /** The parameters and the running statistics, by name. */
  readonly variables: ReadonlyMap<string, tfjs.Variable>
  /** Counts one batch of training for BatchNorm's `num_batches_tracked`. */
  readonly countBatch: () => void
  /** All tensors by name, in the order of PyTorch's state_dict. */
  readonly read: () => ReadonlyMap<string, HostTensor>
  /** A tensor in the layout of the parameter `name` as the engine's variable has it, and back. */
  readonly toEngine: (name: string, tensor: HostTensor) => tfjs.Tensor
  readonly toHost: (name: string, value: tfjs.Tensor) => HostTensor
  /** Replaces the classifier by weights [classes, D] (row-major): its rows are the classes. */
  readonly setClassifier: (weights: Float32Array) => void
  readonly classes: () => number
}

const classifierName = "classifier.weight"

/** Tensors of a network with `classes` classes, in state_dict order. */
export const networkTensors = (config: ModelConfig, classes: number): ReadonlyArray<TensorSpec> => {
  const geometry = geometryOf(config)
  const dimension = geometry.widths[3]!
  return [
    ...resnetTensors(geometry).map((spec) => ({ ...spec, name: `backbone.${spec.name}` })),
    ...batchNormSpecs("head.feat_bn", dimension, "frozen"),
    { name: classifierName, shape: [classes, dimension], kind: "linear" }
  ]
}

const isTrained = ({ kind }: TensorSpec) =>
  kind === "kernel" || kind === "scale" || kind === "shift" || kind === "linear"

/** Declares the network's variables in the session with the given values; every name of `networkTensors` must be there. */
export const makeNetwork = (
  session: SessionShape,
  name: string,
  config: ModelConfig,
  tensors: ReadonlyMap<string, HostTensor>
): Network => {
  const { tf } = session
  const geometry = geometryOf(config)
  const dimension = geometry.widths[3]!
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
  const normLayers = new Map<string, BatchNorm>()
  for (const { name: key } of specs.filter(({ kind }) => kind === "scale")) {
    const layer = key.replace(/\.weight$/, "")
    normLayers.set(layer, {
      scale: variable(key),
      shift: variable(`${layer}.bias`),
      runningMean: variable(`${layer}.running_mean`),
      runningVariance: variable(`${layer}.running_var`)
    })
  }
  const batchNorm = (layer: string, x: tfjs.Tensor4D, mode: Mode) =>
    mode === "train" ? batchNormTrain(tf, x, normLayers.get(layer)!) : batchNormEvaluate(tf, x, normLayers.get(layer)!)

  const pooled = (images: tfjs.Tensor4D, mode: Mode) => {
    const map = resnetForward(
      tf,
      geometry,
      {
        kernel: (layer) => variable(`backbone.${layer}.weight`) as tfjs.Tensor4D,
        batchNorm: (layer, x) => batchNorm(`backbone.${layer}`, x, mode)
      },
      images
    )
    return tf.mean(map, [1, 2]) as tfjs.Tensor2D
  }
  const neck = (feature: tfjs.Tensor2D, mode: Mode) =>
    // The engine's BatchNorm takes images: one of 1×1 a row.
    tf.reshape(batchNorm("head.feat_bn", tf.reshape(feature, [-1, 1, 1, dimension]), mode), [
      -1,
      dimension
    ]) as tfjs.Tensor2D

  return {
    name,
    config,
    dimension,
    parameters,
    variables,
    countBatch: () => {
      for (const [key, count] of counts) counts.set(key, count + 1)
    },
    forward: (images, mode) => {
      const feature = pooled(images, mode)
      const b = neck(feature, mode)
      return { feature, neck: b, logits: tf.matMul(b, variable(classifierName) as tfjs.Tensor2D, false, true) }
    },
    embed: (images) => neck(pooled(images, "evaluate"), "evaluate"),
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
