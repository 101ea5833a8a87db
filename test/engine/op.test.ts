/** Ops by name, with attributes of every kind that the project writes. */
import { Effect } from "effect"
import { beforeAll, describe, expect, it } from "vitest"
import { backendOf, runOp } from "#engine/op.ts"
import { loadTensorFlow, type TensorFlow } from "#engine/tensorflow.ts"

describe("runOp", () => {
  let tf: TensorFlow
  beforeAll(() => {
    tf = Effect.runSync(loadTensorFlow())
  })

  it("normalises a batch with FusedBatchNormV3, whose attributes are types, a float, a string and a flag", () => {
    const x = tf.tensor4d([1, 2, 3, 6], [2, 1, 2, 1])
    const [y, mean, variance] = runOp(
      tf,
      "FusedBatchNormV3",
      {
        T: { type: "float32" },
        U: { type: "float32" },
        epsilon: { float: 0.5 },
        data_format: { string: "NHWC" },
        is_training: { bool: true },
        exponential_avg_factor: { float: 1 }
      },
      [x, tf.tensor1d([2]), tf.tensor1d([1]), tf.tensor1d([]), tf.tensor1d([])],
      6
    )
    expect([...mean.dataSync()]).toEqual([3])
    expect(variance.dataSync()[0]).toBeCloseTo(14 / 3, 5)
    // The batch's own variance (14/4) normalises; the unbiased one (14/3) is what comes out.
    const scale = 2 / Math.sqrt(14 / 4 + 0.5)
    for (const [index, value] of [1, 2, 3, 6].entries()) {
      expect(y.dataSync()[index]).toBeCloseTo((value - 3) * scale + 1, 5)
    }
  })

  it("takes lists of integers and shapes", () => {
    const x = tf.tensor4d([1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 3, 3, 1])
    const attributes = {
      T: { type: "float32" },
      ksize: { int: [1, 2, 2, 1] },
      strides: { int: [1, 1, 1, 1] },
      padding: { string: "VALID" }
    } as const
    const [pooled] = runOp(tf, "MaxPool", attributes, [x], 1)
    expect([...pooled.dataSync()]).toEqual([5, 6, 8, 9])
    const [checked] = runOp(tf, "EnsureShape", { T: { type: "float32" }, shape: { shape: [1, 3, 3, 1] } }, [x], 1)
    expect(checked.shape).toEqual([1, 3, 3, 1])
  })

  it("leaves its outputs to the tidy scope around it", () => {
    const before = tf.memory().numTensors
    tf.tidy(() => runOp(tf, "Neg", { T: { type: "float32" } }, [tf.scalar(1)], 1)[0].dataSync())
    expect(tf.memory().numTensors).toBe(before)
  })

  it("throws what TensorFlow says of inputs that do not fit", () => {
    const [a, b] = [tf.ones([2, 3]), tf.ones([2, 3])]
    expect(() =>
      runOp(
        tf,
        "MatMul",
        { T: { type: "float32" }, transpose_a: { bool: false }, transpose_b: { bool: false } },
        [a, b],
        1
      )
    ).toThrow(/Matrix size-incompatible/)
  })

  it("gives the backend with its addon", () => {
    expect(backendOf(tf).binding.TF_Version).toBe("2.21.0")
  })
})
