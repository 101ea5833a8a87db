/** Weighted sums of parameters: the engine's against those computed here, and that they follow the mean teacher's update. */
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { random } from "#data/random.ts"
import { moveTeacher } from "#model/mean-teacher.ts"
import { Networks } from "#model/networks.ts"
import { parameterSum, parameterSums } from "#model/parameter-sums.ts"
import { run } from "../stages/run-stage.ts"
import { tinyModel } from "../stages/tiny-training.ts"

const tinyNetworks = Effect.gen(function* () {
  const networks = yield* Networks
  const [student, teacher] = ["student-1", "teacher-1"].map((name, i) => networks.create(name, tinyModel, 5, i + 1))
  return { tf: networks.session.tf, student: student!, teacher: teacher! }
})

/** Of each parameter its name and its sum, from the values that the network gives away. */
const sumsOf = (network: Effect.Success<typeof tinyNetworks>["student"]) => {
  const values = network.read()
  return [...network.parameters.keys()].map((name) => {
    const { shape, values: of } = values.get(name)!
    return { name, ...parameterSum(name, shape, of as Float32Array) }
  })
}

describe("weighted sums of parameters", () => {
  it("are the same on the engine, in its own layout", () =>
    run(
      Effect.gen(function* () {
        const { tf, student } = yield* tinyNetworks
        const onEngine = parameterSums(tf, student.parameters).dataSync()
        const here = sumsOf(student)
        expect(onEngine).toHaveLength(here.length)
        for (const [i, { name, sum, norm }] of here.entries())
          expect([name, Math.abs(onEngine[i]! - sum) <= 1e-6 * norm]).toEqual([name, true])
      })
    ))

  it("of a moved teacher are those of the update, and a changed value changes them by at least as much", () =>
    run(
      Effect.gen(function* () {
        const { tf, student, teacher } = yield* tinyNetworks
        const before = sumsOf(teacher)
        moveTeacher(tf, teacher.parameters, student.parameters, 0.9)
        const [moved, taken] = [sumsOf(teacher), sumsOf(student)]
        for (const [i, { sum, norm }] of moved.entries())
          expect(Math.abs(sum - (0.9 * before[i]!.sum + 0.1 * taken[i]!.sum))).toBeLessThan(1e-6 * (norm + 1))
      })
    ))

  it("tell values that were changed for each other, and show a change of any one", () => {
    const shape = [3, 2, 2, 2]
    const draw = random(4)
    const values = Float32Array.from({ length: 24 }, () => draw.normal())
    const { sum } = parameterSum("weight", shape, values)
    for (const at of values.keys()) {
      const changed = values.slice()
      changed[at]! += 1e-3
      const by = Math.abs(parameterSum("weight", shape, changed).sum - sum)
      expect(by).toBeGreaterThan(0.99e-3)
      expect(by).toBeLessThan(1.6e-3)
    }
    const swapped = values.slice()
    ;[swapped[3], swapped[17]] = [values[17]!, values[3]!]
    expect(Math.abs(parameterSum("weight", shape, swapped).sum - sum)).toBeGreaterThan(1e-3)
  })
})
