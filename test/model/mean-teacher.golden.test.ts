import { Effect, Schema } from "effect"
import { describe, expect, it } from "vitest"
import { Session } from "#engine/session.ts"
import { moveTeacher, warmedUpAlpha } from "#model/mean-teacher.ts"
import { goldenCase } from "../golden-values.ts"
import { run } from "../stages/run-stage.ts"

const ema = goldenCase(
  "ema",
  Schema.Struct({ alpha: Schema.Finite, alpha_schedule: Schema.Record(Schema.String, Schema.Finite) })
)

/** The teacher after each step, flat, with α of a step given. */
const trace = (alpha: (step: number) => number) =>
  run(
    Effect.map(Session, ({ tf, variable }) => {
      const { values, shape } = ema.input("student", Float32Array)
      const [steps, size] = shape as [number, number]
      const teacher = variable("teacher/w", () => tf.tensor1d(ema.input("teacher0", Float32Array).values))
      const student = variable("student/w", () => tf.zeros([size]))
      const after: Array<number> = []
      for (let step = 0; step < steps; step++) {
        tf.tidy(() => student.assign(tf.tensor1d(values.subarray(step * size, (step + 1) * size))))
        moveTeacher(tf, new Map([["w", teacher]]), new Map([["w", student]]), alpha(step))
        after.push(...teacher.dataSync())
      }
      return after
    })
  )

describe("golden: ema", () => {
  it("warm-up: the first update copies the student", async () => {
    ema.check("teacher_after_warmup", await trace((step) => warmedUpAlpha(step, ema.params.alpha)))
  })

  it("constant", async () => {
    ema.check("teacher_after_constant", await trace(() => ema.params.alpha))
  })

  it("α over the steps", () => {
    for (const [step, alpha] of Object.entries(ema.params.alpha_schedule))
      expect(warmedUpAlpha(Number(step), ema.params.alpha)).toBeCloseTo(alpha, 12)
  })
})
