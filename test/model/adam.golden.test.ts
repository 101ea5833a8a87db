import { Effect, Schema } from "effect"
import { describe, it } from "vitest"
import { Session } from "#engine/session.ts"
import { makeAdam } from "#model/adam.ts"
import { goldenCase } from "../golden-values.ts"
import { run } from "../stages/run-stage.ts"

const adam = goldenCase(
  "adam",
  Schema.Struct({
    lr: Schema.Finite,
    betas: Schema.Tuple([Schema.Finite, Schema.Finite]),
    eps: Schema.Finite,
    weight_decay_wd: Schema.Finite,
    weight_decay_nowd: Schema.Finite
  })
)
const { lr, betas, eps, weight_decay_wd, weight_decay_nowd } = adam.params

/** The weights after each step, flat. */
const trace = (weightDecay: number) =>
  run(
    Effect.map(Session, (session) => {
      const { tf } = session
      const { values, shape } = adam.input("grad", Float32Array)
      const [steps, size] = shape as [number, number]
      const w = session.variable("w", () => tf.tensor1d(adam.input("w0", Float32Array).values))
      const settings = { weightDecay, beta1: betas[0], beta2: betas[1], epsilon: eps }
      const optimizer = makeAdam(session, new Map([["w", w]]), settings)
      const after: Array<number> = []
      for (let step = 0; step < steps; step++) {
        const { stepSize, correction } = optimizer.next(lr)
        const gradient = values.subarray(step * size, (step + 1) * size)
        tf.tidy(() => optimizer.apply({ w: tf.tensor1d(gradient) }, stepSize, correction))
        after.push(...w.dataSync())
      }
      return after
    })
  )

describe("golden: adam", () => {
  it("with weight decay", async () => {
    adam.check("w_after_wd", await trace(weight_decay_wd))
  })

  it("without", async () => {
    adam.check("w_after_nowd", await trace(weight_decay_nowd))
  })
})
