import { Effect, Schema, Stream } from "effect"
import { describe, expect, it } from "vitest"
import { valuesOf } from "#engine/session.ts"
import { adamDefaults, makeAdam } from "#model/adam.ts"
import { moveTeacher, warmedUpAlpha } from "#model/mean-teacher.ts"
import type { Network } from "#model/network.ts"
import { Networks } from "#model/networks.ts"
import { type LossSettings, lossAndGradients, lossNames, mmtLoss } from "#model/objective.ts"
import { batchOf } from "#schemas/artifact.ts"
import { batches } from "#schemas/batches.ts"
import { checkpoint } from "#schemas/checkpoint.ts"
import { trainMetrics } from "#schemas/train-metrics.ts"
import { EmaUpdateParams, emaUpdateStage } from "#stages/ema-update.ts"
import { TrainStepParams, trainStepStage } from "#stages/train-step.ts"
import { expectWithin, goldenCase, readGoldenTensors } from "../golden-values.ts"
import { GoldenTraining, networkNames, type TraceName } from "./golden-training.ts"
import { inlet, run } from "./run-stage.ts"

const { epsilon } = goldenCase("losses", Schema.Struct({ epsilon: Schema.Finite })).params
const { soft_ce_weight: softIdentity, soft_tri_weight: softTriplet } = goldenCase(
  "combined_loss",
  Schema.Struct({ soft_ce_weight: Schema.Finite, soft_tri_weight: Schema.Finite })
).params
const loss: LossSettings = {
  ...mmtLoss,
  weights: { identity: 1 - softIdentity, triplet: 1 - softTriplet, softIdentity, softTriplet },
  labelSmoothing: epsilon
}
const momentum = goldenCase("ema", Schema.Struct({ alpha: Schema.Finite })).params.alpha

const official = new GoldenTraining("train_official")
const openunreid = new GoldenTraining("train_openunreid")
const traceNames = Object.keys(networkNames) as ReadonlyArray<TraceName>

describe.each([official, openunreid])("golden: $golden.id, images", (training) => {
  it("come from the formula", () => {
    const { golden } = training
    const last = golden.params.steps - 1
    const lastSample = golden.params.labels[last]!.length - 1
    const probe = (name: string) => golden.input(name, Float32Array).values
    expect(training.image(0, 0, 0)).toEqual(probe("image_step0_view0_sample0"))
    expect(training.image(last, 1, lastSample)).toEqual(probe("image_last_step_view1_last_sample"))
  })
})

/** All steps by the modules that the stages call, each compared with the trace. */
const trainByModules = (
  training: GoldenTraining,
  settings: LossSettings,
  moveTeachers: { readonly when: "before" | "after"; readonly alpha: (step: number) => number }
) =>
  run(
    Effect.gen(function* () {
      const networks = yield* Networks
      const { session } = networks
      const { tf } = session
      const { params } = training.golden
      const all = training.declareNetworks(session)
      const students = [all.student1, all.student2]
      const teachers = [all.teacher1, all.teacher2]
      const variables = students.flatMap((s) => [...s.parameters].map(([name, v]) => [`${s.name}/${name}`, v] as const))
      const [beta1, beta2] = params.betas
      const adam = makeAdam(session, new Map(variables), {
        weightDecay: params.weight_decay,
        beta1,
        beta2,
        epsilon: params.eps
      })
      const move = (step: number) => {
        for (const [i, teacher] of teachers.entries())
          moveTeacher(tf, teacher.parameters, students[i]!.parameters, moveTeachers.alpha(step))
      }
      for (let step = 0; step < params.steps; step++) {
        if (moveTeachers.when === "before") move(step)
        const batch = training.views(tf, step)
        for (const [i, name] of traceNames.entries()) {
          // A forward pass in training mode moves the running statistics, so a copy makes it.
          const copy = networks.copy(all[name], "probe")
          training.checkPooled(
            step,
            name,
            valuesOf(tf, () => copy.forward(batch.views[i % 2]!, "train").feature)
          )
        }
        const { losses, gradients } = lossAndGradients(tf, students, teachers, batch, settings)
        const values = losses.dataSync()
        training.checkLosses(step, new Map(lossNames(settings, students.length).map((name, i) => [name, values[i]!])))
        for (const name of traceNames) all[name].countBatches(1)
        const gradientsOf = (network: Network) => (name: string) =>
          network.toHost(name, gradients[`${network.name}/${name}`]!)
        training.checkGradients(step, "student1", gradientsOf(all.student1))
        training.checkGradients(step, "student2", gradientsOf(all.student2))
        const { stepSize, correction } = adam.next(params.lr)
        adam.apply(gradients, stepSize, correction)
        tf.dispose([losses, gradients, batch])
        if (moveTeachers.when === "after") move(step)
        for (const name of traceNames) training.checkAfter(step, name, all[name].read())
      }
      return { student1: all.student1.read(), teacher1: all.teacher1.read() }
    })
  )

/** All steps through train-step and ema-update on record batches, each compared with the trace. */
const trainByStages = async (
  training: GoldenTraining,
  settings: LossSettings,
  updates: typeof EmaUpdateParams.Encoded,
  compiled: boolean
) => {
  const { params } = training.golden
  expect({ ...adamDefaults, weightDecay: params.weight_decay }).toEqual({
    weightDecay: params.weight_decay,
    beta1: params.betas[0],
    beta2: params.betas[1],
    epsilon: params.eps
  })
  const { H, W, classes } = params
  const inputs = Array.from({ length: params.steps }, (_, step) => {
    const views = [training.view(step, 0), training.view(step, 1)]
    const label = Int32Array.from(views.flatMap(({ labels }) => [...labels]))
    return batchOf(
      batches,
      {
        image: Array.from(label, (_, row) => `${row}.jpg`),
        label,
        camera: new Int32Array(label.length),
        view: Int8Array.from(label, (_, row) => Math.floor(row / views[0]!.labels.length)),
        pixels: training.pixels(step)
      },
      { height: H, width: W, classes, epoch: 1, iteration: step }
    )
  })
  // The networks reach the stage as a checkpoint would.
  const start = await run(
    Effect.map(Networks, (networks) => {
      for (const network of Object.values(training.declareNetworks(networks.session)))
        networks.copy(network, network.name)
      return networks.save({ optimizer: false })
    })
  )
  return run(
    Effect.gen(function* () {
      const networks = yield* Networks
      const trained = yield* trainStepStage.run(
        { batches: inlet(batches, inputs), checkpoint: inlet(checkpoint, [start]), centroids: undefined },
        yield* Schema.decodeEffect(TrainStepParams)({
          loss: settings,
          schedule: { base: params.lr, warmupEpochs: 0, milestones: [], factor: 0.1 },
          iterations: params.steps,
          weightDecay: params.weight_decay,
          compiled
        })
      )
      const updated = yield* emaUpdateStage.run(
        {
          "train-metrics": { ...inlet(trainMetrics, []), batches: trained["train-metrics"].pipe(Stream.orDie) },
          checkpoint: undefined
        },
        yield* Schema.decodeEffect(EmaUpdateParams)(updates)
      )
      let step = 0
      yield* Stream.runForEach(updated["train-metrics"], (row) =>
        Effect.gen(function* () {
          const names = row.schema.names.map(String)
          training.checkLosses(step, new Map(names.map((name) => [name, Number(row.getChild(name)!.get(0))])))
          for (const name of traceNames) {
            const network = yield* networks.get(networkNames[name])
            training.checkAfter(step, name, network.read())
          }
          step++
        })
      )
      expect(step).toBe(params.steps)
      const [student1, teacher1] = yield* Effect.forEach(["student-1", "teacher-1"], networks.get)
      return { student1: student1!.read(), teacher1: teacher1!.read() }
    })
  )
}

const modes = [
  ["compiled", true],
  ["op by op", false]
] as const

/** Weights after the last step: elements whose gradient is about zero may have gone 2·lr a step the other way. */
const checkFinal = (found: Awaited<ReturnType<typeof trainByModules>>) => {
  const { golden } = official
  const { lr, steps } = golden.params
  const expected = readGoldenTensors(golden.path("final_weights"))
  expect(expected.size).toBeGreaterThan(0)
  for (const [name, reference] of expected) {
    const [network, tensor] = [name.slice(0, name.indexOf(".")), name.slice(name.indexOf(".") + 1)]
    const values = found[network as keyof typeof found].get(tensor)!.values
    const count = tensor.endsWith("num_batches_tracked")
    expectWithin(`train_official final ${name}`, values, reference, count ? "exact" : { abs: 2 * lr * steps, rel: 0 })
    let [size, error] = [0, 0]
    for (let i = 0; i < reference.length; i++) {
      size += Math.abs(reference[i]!)
      error += Math.abs(values[i]! - reference[i]!)
    }
    const { rel_to_abs_sum } = official.lastTolerance.abs_sum
    expectWithin(`train_official final ${name} mean error`, [error], [0], { abs: rel_to_abs_sum * size, rel: 0 })
  }
}

describe("golden: train_official", () => {
  it("five steps by the modules: losses, gradients, weights and statistics", async () => {
    const alpha = (step: number) => warmedUpAlpha(step, momentum)
    checkFinal(await trainByModules(official, loss, { when: "after", alpha }))
  })

  it.each(modes)("the same through train-step and ema-update on record batches, %s", async (_, compiled) =>
    checkFinal(await trainByStages(official, loss, { momentum }, compiled))
  )
})

describe("golden: train_openunreid", () => {
  // The teachers move first, by a constant α, and distances carry the anchor's gradient.
  const settings: LossSettings = { ...loss, distanceGradient: "anchor-only" }

  it("five steps by the modules: losses, gradients, weights and statistics", () =>
    trainByModules(openunreid, settings, { when: "before", alpha: (step) => openunreid.golden.params.alpha[step]! }))

  it.each(modes)("the same through the options of train-step and ema-update, %s", async (_, compiled) => {
    const { alpha } = openunreid.golden.params
    expect(new Set(alpha)).toEqual(new Set([momentum]))
    await trainByStages(openunreid, settings, { momentum, warmup: false, when: "before-forward" }, compiled)
  })
})
