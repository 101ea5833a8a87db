/** The compiled trainer against the one that runs op by op, over geometries and losses. */
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { random } from "#data/random.ts"
import { adamDefaults } from "#model/adam.ts"
import type { ModelConfig, ResNetGeometry } from "#model/config.ts"
import { warmedUpAlpha } from "#model/mean-teacher.ts"
import { Networks } from "#model/networks.ts"
import { type LossSettings, mmtLoss } from "#model/objective.ts"
import { compiledTrainer, eagerTrainer, Programs } from "#model/trainer.ts"
import { expectWithin } from "../golden-values.ts"
import { run } from "../stages/run-stage.ts"

const [images, height, width, classes, steps] = [8, 32, 16, 4, 20]
const values = height * width * 3
// So small that differences of rounding do not grow from step to step.
const rate = 1e-4

const geometry: ResNetGeometry = {
  stem: { kernel: 3, stride: 2, channels: 4, maxPool: false },
  widths: [4, 8, 8, 16],
  blocks: [1, 1, 1, 1],
  strides: [1, 2, 2, 1]
}
const maxPooled = { kernel: 7, stride: 1, channels: 4, maxPool: true }

const supervisedLoss: LossSettings = {
  ...mmtLoss,
  weights: { identity: 1, triplet: 1, softIdentity: 0, softTriplet: 0 }
}

const models: Readonly<Record<string, ModelConfig>> = {
  "basic blocks": { backbone: geometry },
  "bottlenecks, no ReLU in the stem": {
    backbone: { ...geometry, stem: maxPooled, block: "bottleneck" },
    stemRelu: false
  },
  "bottlenecks with IBN, GeM, BatchNorm of 4 images": {
    backbone: { ...geometry, block: "bottleneck", ibn: "a" },
    pooling: "gem",
    samplesPerBatchNorm: 4
  }
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

/**
 * The losses of each step from seeded weights, and the networks' tensors after the last. One student is enough here: its
 * own mean teacher gives the soft labels.
 */
const train = (model: ModelConfig, loss: LossSettings, compiled: boolean) =>
  run(
    Effect.gen(function* () {
      const networks = yield* Networks
      const { tf } = networks.session
      const students = [networks.create("student-1", model, classes, 11)]
      const teachers = loss.weights.softIdentity > 0 ? [networks.copy(students[0]!, "teacher-1")] : []
      const { weightDecay } = adamDefaults
      const adam = networks.optimizer(students, adamDefaults, true)
      const spec = { students, teachers, adam, loss, weightDecay, batch: [images, height, width] as const }
      const trainer = compiled ? yield* compiledTrainer(yield* Programs, tf, spec) : eagerTrainer(tf, spec)
      const trace = batches.map((pixels, step) => {
        const reported = trainer.step([pixels], labels, rate)
        trainer.moveTeachers(warmedUpAlpha(step, 0.999))
        return reported
      })
      trainer.settle()
      return { trace, tensors: [...students, ...teachers].map((network) => network.read()) }
    })
  )

describe.each(Object.entries(models))("%s", (_, model) => {
  it.each(Object.entries(losses))("%s: a compiled step is the step op by op", async (_, loss) => {
    const eager = await train(model, loss, false)
    const compiled = await train(model, loss, true)
    for (const [step, expected] of eager.trace.entries()) {
      const found = compiled.trace[step]!
      expect([...found.keys()]).toEqual([...expected.keys()])
      for (const [name, value] of expected)
        expectWithin(`step ${step} ${name}`, [found.get(name)!], [value], { abs: 1e-5 * Math.max(1, value), rel: 0 })
    }
    // An element whose gradient is about zero may go the other way.
    for (const [network, tensors] of eager.tensors.entries())
      for (const [name, { values }] of tensors)
        expectWithin(name, compiled.tensors[network]!.get(name)!.values, values, { abs: 2 * rate * steps, rel: 0 })
  })
})
