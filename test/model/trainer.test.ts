/** The compiled trainer against the one that runs op by op, over geometries and losses. */
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { random } from "#data/random.ts"
import { Programs } from "#engine/programs.ts"
import { adamDefaults } from "#model/adam.ts"
import { warmedUpAlpha } from "#model/mean-teacher.ts"
import { Networks } from "#model/networks.ts"
import { type LossSettings, mmtLoss } from "#model/objective.ts"
import { compiledTrainer, eagerTrainer, type Trainer, type TrainerSpec } from "#model/trainer.ts"
import { expectWithin } from "../golden-values.ts"
import { run } from "../stages/run-stage.ts"
import { tinyModels } from "./tiny-networks.ts"

const [images, height, width, classes, steps] = [8, 32, 16, 4, 20]
const values = height * width * 3
const rate = 3.5e-4

const supervisedLoss: LossSettings = {
  ...mmtLoss,
  weights: { identity: 1, triplet: 1, softIdentity: 0, softTriplet: 0 }
}

const losses: Readonly<Record<string, LossSettings>> = {
  "soft losses": mmtLoss,
  "margin triplet": { ...supervisedLoss, tripletMargin: 0.3 },
  "anchor-only distances": { ...supervisedLoss, distanceGradient: "anchor-only" }
}

const labels = Int32Array.from({ length: images }, (_, i) => i % classes)

/** Pixels of each step: a pattern of each class, and noise. */
const batches = Array.from({ length: steps }, (_, step) =>
  Float32Array.from(
    Array.from(labels).flatMap((label, image) => {
      const [pattern, noise] = [random(1, "pattern", label), random(1, "noise", step, image)]
      return Array.from({ length: values }, () => pattern.normal() + noise.normal())
    })
  )
)

/** Elementwise: an element whose gradient is about zero may go the other way. */
const weightTolerance = { abs: 2 * rate, rel: 0 }

describe.each(Object.entries(tinyModels))("%s", (_, model) => {
  it.each(Object.entries(losses))("%s: each of 20 compiled steps is the step op by op", (_, loss) =>
    run(
      Effect.gen(function* () {
        const networks = yield* Networks
        const { tf } = networks.session
        // One student is enough: its own mean teacher gives the soft labels.
        const student = networks.create("student-1", model, classes, 11)
        const teachers = loss.weights.softIdentity > 0 ? [networks.copy(student, "teacher-1")] : []
        const { weightDecay } = adamDefaults
        const adam = networks.optimizer([student], adamDefaults, true)
        let rates = adam.next(rate)
        const spec: TrainerSpec = {
          students: [student],
          teachers,
          // Both trainers take the same step.
          adam: { ...adam, next: () => rates },
          loss,
          weightDecay,
          batch: [images, height, width]
        }
        const compiled = yield* compiledTrainer(yield* Programs, tf, spec)
        const eager = eagerTrainer(tf, spec)
        const step = (trainer: Trainer, index: number) =>
          trainer.step([batches[index]!], labels, rate, random(1, "dropout", index))
        const move = (trainer: Trainer, index: number) => trainer.moveTeachers(warmedUpAlpha(index, 0.999))
        for (const index of batches.keys()) {
          // From the compiled step's values both go on: activations that round to either side of zero would otherwise
          // drive the two apart.
          const reported = compiled.withMoments(() => {
            const losses = step(eager, index)
            move(eager, index)
            return losses
          })
          const expected = yield* Effect.promise(() => reported)
          const before = [student, ...teachers].map((network) => network.read())
          const found = yield* Effect.promise(() => step(compiled, index))
          move(compiled, index)
          // While it trains, the graph's session alone has the values.
          for (const variable of student.variables.values()) expect(() => variable.dataSync()).toThrow()
          compiled.settle()
          expect([...found.keys()]).toEqual([...expected.keys()])
          for (const [name, value] of expected)
            expectWithin(`step ${index} ${name}`, [found.get(name)!], [value], { abs: 1e-6, rel: 1e-5 })
          for (const [at, network] of [student, ...teachers].entries())
            for (const [name, { values }] of network.read())
              if (!name.endsWith("num_batches_tracked"))
                expectWithin(`step ${index} ${name}`, values, before[at]!.get(name)!.values, weightTolerance)
          rates = adam.next(rate)
        }
      })
    )
  )
})
