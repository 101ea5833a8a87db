/** Networks of a few thousand weights, and images for them. */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { random } from "#data/random.ts"
import type { SessionShape } from "#engine/session.ts"
import type { ModelConfig, ResNetGeometry } from "#model/config.ts"
import { initialTensors } from "#model/initial.ts"
import { makeNetwork, type Network } from "#model/network.ts"

export const tinyGeometry: ResNetGeometry = {
  stem: { kernel: 3, stride: 2, channels: 4, maxPool: false },
  widths: [4, 8, 8, 16],
  blocks: [1, 1, 1, 1],
  strides: [1, 2, 2, 1]
}

/** Configurations that have all that a model can have, by what they are. */
export const tinyModels: Readonly<Record<string, ModelConfig>> = {
  "basic blocks": { backbone: tinyGeometry },
  "bottlenecks, no ReLU in the stem, a projection and dropout": {
    backbone: {
      ...tinyGeometry,
      stem: { kernel: 7, stride: 1, channels: 4, maxPool: true },
      block: "bottleneck"
    },
    stemRelu: false,
    embedding: 6,
    dropout: 0.3
  },
  "bottlenecks with IBN, GeM, BatchNorm of 4 images": {
    backbone: { ...tinyGeometry, block: "bottleneck", ibn: "a" },
    pooling: "gem",
    samplesPerBatchNorm: 4
  }
}

/** A network whose normalisations are none of the identity: all that starts at 0 or 1 is drawn around it. */
export const drawnNetwork = (session: SessionShape, name: string, config: ModelConfig, seed = 1): Network => {
  const network = makeNetwork(session, name, config, initialTensors(config, 4, seed))
  for (const [key, variable] of network.variables) {
    const draw = random(seed, "drawn", key)
    const around = variable
      .dataSync()
      .map((value) => value + (key.includes("running_var") ? 0.5 : 0.2) * draw.uniform(-1))
    if (variable.shape.length === 1) session.tf.tidy(() => variable.assign(session.tf.tensor1d(around as Float32Array)))
  }
  return network
}

/** Images [N, 32, 16, 3]. */
export const drawnImages = ({ tf }: SessionShape, count: number, seed = 1): tfjs.Tensor4D => {
  const draw = random(seed, "images")
  const shape: [number, number, number, number] = [count, 32, 16, 3]
  return tf.tensor4d(
    Float32Array.from({ length: count * 32 * 16 * 3 }, () => draw.normal()),
    shape
  )
}
