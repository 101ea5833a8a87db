/**
 * A weighted sum of each parameter of a network: one number a tensor, cheap enough to record at every step. The mean
 * teacher's update is linear, so the sums of a teacher follow from those of its student as its values do from the
 * student's values; by them an epoch of updates can be checked that nobody kept the parameters of.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { random } from "#data/random.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"

/**
 * The weight of element (o, j) of a tensor of shape [rows, …]: rows[o] · rest[j]. Signs are drawn, so that values and
 * the rounding of their updates do not add up; magnitudes differ, so that two values changed for each other show.
 */
interface SumWeights {
  readonly rows: Float32Array
  readonly rest: Float32Array
}

const drawnWeights = (count: number, ...key: ReadonlyArray<string | number>): Float32Array => {
  const draw = random(1, "parameter-sums", ...key)
  return Float32Array.from({ length: count }, () => (draw.int(2) === 0 ? -1 : 1) * draw.uniform(1, 1.25))
}

const weightsOf = (name: string, shape: ReadonlyArray<number>): SumWeights => {
  const [rows = 1, ...others] = shape
  const rest = others.reduce((a, b) => a * b, 1)
  return {
    rows: drawnWeights(rows, name, "rows"),
    rest: others.length === 0 ? Float32Array.of(1) : drawnWeights(rest, name, "rest")
  }
}

/** A sum, and what its rounding is measured by. */
export interface ParameterSum {
  readonly sum: number
  /** Root of the summed squares of the values. */
  readonly norm: number
  /** How many float32 additions a term goes through in the engine. */
  readonly terms: number
}

/** The weighted sum of one parameter, in PyTorch's layout, in double precision. */
export const parameterSum = (name: string, shape: ReadonlyArray<number>, values: Float32Array): ParameterSum => {
  const { rows, rest } = weightsOf(name, shape)
  let sum = 0
  let squares = 0
  for (let row = 0, at = 0; row < rows.length; row++) {
    let inner = 0
    for (let j = 0; j < rest.length; j++, at++) {
      const value = values[at]!
      inner += value * rest[j]!
      squares += value * value
    }
    sum += rows[row]! * inner
  }
  return { sum, norm: Math.sqrt(squares), terms: rows.length + rest.length }
}

type Parameters = ReadonlyMap<string, tfjs.Variable>

/** Of a kernel [height, width, input, output], weights drawn for [input, height, width] in the engine's order. */
const inEngineOrder = (rest: Float32Array, [height, width, input]: ReadonlyArray<number>): Float32Array => {
  const ordered = new Float32Array(rest.length)
  const pixels = height! * width!
  for (let at = 0; at < ordered.length; at++) {
    const pixel = Math.floor(at / input!)
    ordered[at] = rest[(at % input!) * pixels + pixel]!
  }
  return ordered
}

/** The addends of a parameter's sum as a short vector, and the weights that are still to be applied. */
const addends = (tf: TensorFlow, name: string, parameter: tfjs.Variable) => {
  const { shape } = parameter
  if (shape.length === 4) {
    const { rows, rest } = weightsOf(name, [shape[3]!, shape[2]!, shape[0]!, shape[1]!])
    const matrix = tf.reshape(parameter, [rest.length, rows.length]) as tfjs.Tensor2D
    return { vector: tf.matMul(matrix, tf.tensor2d(rows, [rows.length, 1])), weights: inEngineOrder(rest, shape) }
  }
  const { rows, rest } = weightsOf(name, shape)
  if (shape.length < 2) return { vector: parameter, weights: rows }
  const column = tf.tensor2d(rest, [rest.length, 1])
  return {
    vector: tf.matMul(tf.reshape(parameter, [rows.length, rest.length]) as tfjs.Tensor2D, column),
    weights: rows
  }
}

/** The weighted sums [parameters] of these parameters as the engine holds them, in their order. */
export const parameterSums = (tf: TensorFlow, parameters: Parameters): tfjs.Tensor1D =>
  tf.tidy(() => {
    const parts = [...parameters].map(([name, parameter]) => addends(tf, name, parameter))
    const weights = new Float32Array(parts.reduce((sum, part) => sum + part.weights.length, 0))
    const owner = new Int32Array(weights.length)
    let at = 0
    for (const [index, part] of parts.entries()) {
      weights.set(part.weights, at)
      owner.fill(index, at, at + part.weights.length)
      at += part.weights.length
    }
    const vector = tf.concat(parts.map(({ vector }) => tf.reshape(vector, [-1]) as tfjs.Tensor1D))
    const ids = tf.tensor1d(owner, "int32")
    return tf.unsortedSegmentSum(tf.mul(vector, tf.tensor1d(weights)), ids, parts.length) as tfjs.Tensor1D
  })
