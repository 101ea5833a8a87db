import { Effect, Schema } from "effect"
import { describe, expect, it } from "vitest"
import { Session, type SessionShape } from "#engine/session.ts"
import type { Network } from "#model/network.ts"
import { type LossSettings, lossAndGradients, lossNames, mmtLoss } from "#model/objective.ts"
import { expectWithin, goldenCase } from "../golden-values.ts"
import { run } from "./run-stage.ts"

const { epsilon } = goldenCase("losses", Schema.Struct({ epsilon: Schema.Finite })).params
const combined = goldenCase(
  "combined_loss",
  Schema.Struct({ soft_ce_weight: Schema.Finite, soft_tri_weight: Schema.Finite })
)
const { soft_ce_weight: softIdentity, soft_tri_weight: softTriplet } = combined.params

const settings: LossSettings = {
  ...mmtLoss,
  weights: { identity: 1 - softIdentity, triplet: 1 - softTriplet, softIdentity, softTriplet },
  labelSmoothing: epsilon
}

/** A network whose outputs are variables with the case's values: gradients stop there. */
const recorded = ({ tf, variable }: SessionShape, name: string, from: string): Network => {
  const declare = (kind: string) => {
    const { values, shape } = combined.input(`${from}_${kind}`, Float32Array)
    return variable(`${name}/${kind}`, () => tf.tensor2d(values, shape as [number, number]))
  }
  const feature = declare("feat")
  const logits = declare("logits")
  const parameters = new Map(Object.entries({ feat: feature, logits }))
  return { name, parameters, forward: () => ({ feature, neck: feature, logits }) } as unknown as Network
}

/** Losses and gradients by the set's names; the teachers have the recorded values of these networks. */
const step = (changed: Partial<LossSettings>, taughtBy: ReadonlyArray<string> = ["t1", "t2"]) =>
  run(
    Effect.map(Session, (session) => {
      const { tf } = session
      const students = [recorded(session, "student-1", "s1"), recorded(session, "student-2", "s2")]
      const teachers = taughtBy.map((from, i) => recorded(session, `teacher-${i + 1}`, from))
      const labels = tf.tensor1d(combined.input("label", Int32Array).values, "int32")
      const { losses, gradients } = lossAndGradients(
        tf,
        students,
        teachers,
        { views: [], labels },
        { ...settings, ...changed }
      )
      const gradient = (name: string) => gradients[name.replace(/^d_s([12])_/, "student-$1/")]!.dataSync()
      const values = losses.dataSync()
      return { losses: new Map(lossNames(settings, students.length).map((name, i) => [name, values[i]!])), gradient }
    })
  )

const termName = (name: string) => name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())

describe("golden: combined_loss", () => {
  it("each term, their sum, and the gradients through both sides of the distance", async () => {
    const { losses, gradient } = await step({})
    for (const name of Object.keys(combined.scalars)) combined.check(name, losses.get(termName(name))!)
    for (const name of combined.outputs.filter((output) => !output.endsWith("_anchor_only")))
      combined.check(name, gradient(name))
  })

  it("the gradients through the anchor alone", async () => {
    const { gradient } = await step({ distanceGradient: "anchor-only" })
    for (const name of combined.outputs.filter((output) => output.endsWith("_anchor_only")))
      combined.check(name, gradient(name.replace("_anchor_only", "")))
  })
})

describe("soft labels of the other student", () => {
  it("are those of a teacher that has its outputs, with no gradient to it", async () => {
    const [found, expected] = [await step({ softLabels: "students" }, []), await step({}, ["s1", "s2"])]
    expect(found.losses).toEqual(expected.losses)
    for (const name of combined.outputs.filter((output) => !output.endsWith("_anchor_only")))
      expectWithin(name, found.gradient(name), expected.gradient(name), { abs: 1e-7, rel: 1e-6 })
  })
})
