/** Weights of a network that was never trained, drawn from a seed as torchvision and the original code draw them. */
import { random } from "#data/random.ts"
import type { ModelConfig } from "#model/config.ts"
import { type HostTensor, networkTensors } from "#model/network.ts"
import type { TensorSpec } from "#model/resnet.ts"

const classifierDeviation = 0.001
const gemExponent = 3

const values = (spec: TensorSpec, seed: number): HostTensor["values"] => {
  const size = spec.shape.reduce((a, b) => a * b, 1)
  const normal = (deviation: number) => {
    const generator = random(seed, "weights", spec.name)
    return Float32Array.from({ length: size }, () => deviation * generator.normal())
  }
  switch (spec.kind) {
    case "kernel":
      // Kaiming's initialisation by the fan-out, as in torchvision's ResNet.
      return normal(Math.sqrt(2 / (spec.shape[0]! * spec.shape[2]! * spec.shape[3]!)))
    case "projection":
      // By the fan-out as well, as the original code and OpenUnReID do.
      return normal(Math.sqrt(2 / spec.shape[0]!))
    case "linear":
      return normal(classifierDeviation)
    case "scale":
    case "variance":
      return new Float32Array(size).fill(1)
    case "exponent":
      return new Float32Array(size).fill(gemExponent)
    case "count":
      return new Float64Array(1)
    default:
      return new Float32Array(size)
  }
}

/** All tensors of a fresh network by name; the same seed gives the same values, tensor by tensor. */
export const initialTensors = (config: ModelConfig, classes: number, seed: number): ReadonlyMap<string, HostTensor> =>
  new Map(networkTensors(config, classes).map((spec) => [spec.name, { shape: spec.shape, values: values(spec, seed) }]))
