/**
 * The head of a network, between the pooled feature and the classifier: BNNeck, after a projection where the model has an
 * `embedding`. Source: OpenUnReID's `Embedding`, the same as in the original code's networks with `num_features`.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { dropout } from "#engine/dropout.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"
import { dimensionOf, embeddingDimensionOf, type ModelConfig } from "#model/config.ts"
import type { NormLayer, Variables } from "#model/layers.ts"
import { batchNormSpecs, type TensorSpec } from "#model/resnet.ts"

const projection = "head.feat_reduction"
const norm = "head.feat_bn"

/** Tensors of the head, in state_dict order. */
export const headTensors = (config: ModelConfig): ReadonlyArray<TensorSpec> => {
  const dimension = embeddingDimensionOf(config)
  const projected =
    config.embedding === undefined
      ? []
      : ([
          { name: `${projection}.weight`, shape: [dimension, dimensionOf(config)], kind: "projection" },
          { name: `${projection}.bias`, shape: [dimension], kind: "shift" }
        ] as const)
  return [...projected, ...batchNormSpecs(norm, dimension, "frozen")]
}

/**
 * BNNeck's output b [N, D] of pooled features [N, C]. In training a ReLU follows where there is a projection, so that classes are
 * told apart by its positive part alone; an embedding keeps both signs.
 */
export const neck = (
  tf: TensorFlow,
  config: ModelConfig,
  variables: Variables,
  normLayer: NormLayer,
  feature: tfjs.Tensor2D,
  mode: "train" | "evaluate"
): tfjs.Tensor2D => {
  const projects = config.embedding !== undefined
  const projected = projects
    ? tf.add(
        tf.matMul(feature, variables.get(`${projection}.weight`) as tfjs.Tensor2D, false, true),
        variables.get(`${projection}.bias`)!
      )
    : feature
  const dimension = embeddingDimensionOf(config)
  // The engine's BatchNorm takes images: one of 1×1 a row.
  const images = tf.reshape(projected, [-1, 1, 1, dimension]) as tfjs.Tensor4D
  const normalised = normLayer(norm, images, projects && mode === "train" ? { relu: true } : {})
  return tf.reshape(normalised, [-1, dimension]) as tfjs.Tensor2D
}

/** What the classifier takes in training: b with the model's dropout, whose mask follows from `seed` [2] int32. */
export const dropped = (
  tf: TensorFlow,
  { dropout: probability = 0 }: ModelConfig,
  b: tfjs.Tensor2D,
  seed: tfjs.Tensor1D | undefined
): tfjs.Tensor2D => {
  if (probability === 0) return b
  if (seed === undefined) throw new Error("a network with dropout is trained without a seed for it")
  return dropout(tf, b, probability, seed)
}
