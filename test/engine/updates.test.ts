/** The CPU's own ops that update variables, against tfjs's ops. */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { random } from "#data/random.ts"
import { Session, type SessionShape } from "#engine/session.ts"
import { type AdamStep, blend, composedAdamStep, fusedAdamStep } from "#engine/updates.ts"
import { expectWithin } from "../golden-values.ts"
import { run } from "../stages/run-stage.ts"

const size = 1000
const coefficients = { weightDecay: 5e-4, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }

const normals = (key: string) => {
  const draw = random(1, key)
  return Float32Array.from({ length: size }, () => draw.normal())
}

const withSession = (body: (session: SessionShape) => void) =>
  run(Effect.map(Session, (session) => session.tf.tidy(() => body(session))))

describe("a step of Adam", () => {
  it("moves the variable and its moments as tfjs's ops do, over three steps", () =>
    withSession(({ tf }) => {
      const moved = (step: AdamStep) => {
        const zeros = tf.zeros([10, size / 10])
        let state: Parameters<AdamStep>[1] = [tf.tensor2d(normals("variable"), [10, size / 10]), zeros, zeros]
        for (const t of [1, 2, 3]) {
          const gradient = tf.tensor2d(normals(`gradient ${t}`), [10, size / 10])
          const [stepSize, correction] = [3.5e-4 / (1 - 0.9 ** t), Math.sqrt(1 - 0.999 ** t)]
          state = step(tf, state, gradient, tf.scalar(stepSize), tf.scalar(correction), coefficients)
        }
        return state.map((tensor) => tensor.dataSync())
      }
      const expected = moved(composedAdamStep)
      for (const [i, found] of moved(fusedAdamStep).entries())
        expectWithin(["variable", "m", "v"][i]!, found, expected[i]!, { abs: 1e-7, rel: 1e-5 })
    }))
})

describe("blend", () => {
  it("weighs two tensors", () =>
    withSession(({ tf }) => {
      const [x, y] = [normals("x"), normals("y")]
      const found = blend(tf, tf.scalar(0.75), tf.tensor1d(x), tf.scalar(0.25), tf.tensor1d(y)).dataSync()
      expectWithin(
        "blend",
        found,
        x.map((value, i) => 0.75 * value + 0.25 * y[i]!),
        { abs: 1e-7, rel: 1e-6 }
      )
    }))

  it("refuses tensors of different shapes, without an end of the process", () =>
    withSession(({ tf }) => {
      const one: tfjs.Scalar = tf.scalar(1)
      expect(() => blend(tf, one, tf.zeros([2]), one, tf.zeros([3]))).toThrow("expected two tensors of one shape")
    }))
})
