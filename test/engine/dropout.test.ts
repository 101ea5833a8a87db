/** Dropout by a seed that is given: its share, its scale, its gradient, and new masks by one compiled step. */
import { Effect } from "effect"
import { beforeAll, describe, expect, it } from "vitest"
import { compile } from "#engine/compile.ts"
import { dropout } from "#engine/dropout.ts"
import { loadTensorFlow, type TensorFlow } from "#engine/tensorflow.ts"

const size = 20_000
const probability = 0.3

describe("dropout", () => {
  let tf: TensorFlow
  beforeAll(() => {
    tf = Effect.runSync(loadTensorFlow())
  })
  const dropped = (...seed: [number, number]) =>
    tf.tidy(
      () => dropout(tf, tf.ones([size / 10, 10]), probability, tf.tensor1d(seed, "int32")).dataSync() as Float32Array
    )

  it("sets the given share to 0 and scales the rest so that the mean stays", () => {
    const values = dropped(1, 2)
    expect(new Set(values)).toEqual(new Set([0, Math.fround(1 / (1 - probability))]))
    // Four standard deviations of the share.
    const share = values.filter((value) => value === 0).length / size
    expect(Math.abs(share - probability)).toBeLessThan(4 * Math.sqrt((probability * (1 - probability)) / size))
  })

  it("follows its seed alone, in both of its numbers", () => {
    expect(dropped(1, 2)).toEqual(dropped(1, 2))
    const agreement = (a: Float32Array, b: Float32Array) => a.filter((value, i) => value === b[i]).length / size
    // Independent masks agree where both keep or both drop.
    const expected = probability ** 2 + (1 - probability) ** 2
    for (const other of [dropped(2, 2), dropped(1, 3), dropped(-1, 2)])
      expect(Math.abs(agreement(dropped(1, 2), other) - expected)).toBeLessThan(0.02)
  })

  it("lets the gradient through where it lets the value through", () => {
    const [values, gradient] = tf.tidy(() => {
      const x = tf.ones([size])
      const seed = tf.tensor1d([1, 2], "int32")
      const grad = tf.grad((given) => tf.sum(dropout(tf, given, probability, seed)))
      return [dropout(tf, x, probability, seed).dataSync(), grad(x).dataSync()]
    })
    expect(gradient).toEqual(values)
  })

  it("draws by each seed that a compiled step is given", () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const program = yield* compile(tf, [], {
          drop: {
            inputs: { seed: { shape: [2], dtype: "int32" } },
            step: ({ seed }) => ({ y: dropout(tf, tf.ones([size / 10, 10]), probability, seed as never) })
          }
        })
        const seeds: ReadonlyArray<[number, number]> = [
          [1, 2],
          [-7, 2 ** 31 - 1],
          [1, 2]
        ]
        for (const seed of seeds)
          expect(program.run("drop", { seed: Int32Array.from(seed) }).y).toEqual(dropped(...seed))
      }).pipe(Effect.scoped)
    ))
})
