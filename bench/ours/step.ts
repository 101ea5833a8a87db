/**
 * Training steps by the trainer that the train-step and ema-update stages call: node step.ts FOLDER CASE COMPARED, where
 * COMPARED says of how many steps the losses are compared.
 */
import { join } from "node:path"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Layer, Stream } from "effect"
import { random } from "#data/random.ts"
import { Programs } from "#engine/programs.ts"
import { Session } from "#engine/session.ts"
import { adamDefaults } from "#model/adam.ts"
import { teacherOf, warmedUpAlpha } from "#model/mean-teacher.ts"
import { Networks } from "#model/networks.ts"
import { mmtLoss } from "#model/objective.ts"
import { compiledTrainer } from "#model/trainer.ts"
import { inletOf } from "#pipeline/arrow-file.ts"
import { viewOf } from "#schemas/artifact.ts"
import { batches } from "#schemas/batches.ts"
import { checkpoint } from "#schemas/checkpoint.ts"
import { peakBytes, serve } from "../side.ts"
import { settingsOf } from "./settings.ts"
import { type TrainingCase, type TrainingCaseName, trainingCases } from "./training-case.ts"

const [folder, name, compared] = process.argv.slice(2) as [string, TrainingCaseName, string]
const { students: names, teachers: taught, size }: TrainingCase = trainingCases[name]

/** Steps before the side introduces itself. */
const first = 3
/** A tenth of the paper's: Adam's first steps amplify what rounding leaves of a gradient near 0 into a whole step. */
const learningRate = 3.5e-5
const supervised = { ...mmtLoss, weights: { identity: 1, triplet: 1, softIdentity: 0, softTriplet: 0 } }

const program = Effect.gen(function* () {
  const networks = yield* Networks
  const file = join(folder, "checkpoint.arrow")
  yield* networks.load(yield* Stream.runCollect(inletOf(checkpoint, [file]).batches), file)
  const given = (yield* Stream.runCollect(inletOf(batches, [join(folder, "batches.arrow")]).batches)).map((batch) => {
    const { label, pixels } = viewOf(batches, batch)
    const values = pixels.length / names.length
    return { labels: label.slice(0, size[0]), views: names.map((_, i) => pixels.slice(i * values, (i + 1) * values)) }
  })
  const students = yield* Effect.forEach(names, networks.get)
  const teachers = taught ? yield* Effect.forEach(names, (student) => networks.get(teacherOf(student))) : []
  const { weightDecay } = adamDefaults
  const adam = networks.optimizer(students, adamDefaults, true)
  const spec = { students, teachers, adam, loss: taught ? mmtLoss : supervised, weightDecay, batch: size }
  const trainer = yield* compiledTrainer(yield* Programs, networks.session.tf, spec)
  // The cases' networks have no dropout, which alone would draw.
  const draws = random(1)
  let steps = 0
  const step = async () => {
    const { views, labels } = given[steps % given.length]!
    const losses = await trainer.step(views, labels, learningRate, draws)
    if (taught) trainer.moveTeachers(warmedUpAlpha(steps, 0.999))
    steps++
    return [...losses.values()]
  }
  const losses = [yield* Effect.promise(step)]
  const firstStep = performance.now() / 1000
  while (losses.length < first) losses.push(yield* Effect.promise(step))
  const values = Object.fromEntries(
    losses.slice(0, Number(compared)).map((each, i) => [`losses of step ${i + 1}`, each])
  )
  const work = (count: number) =>
    Effect.promise(async () => {
      for (let i = 0; i < count; i++) await step()
    })
  const measured = { firstStep, peakBytes: peakBytes() }
  yield* serve(values, settingsOf(networks.session.tf), work, measured)
})

const services = Layer.merge(Networks.layer.pipe(Layer.provideMerge(Session.layer)), Programs.layer)
NodeRuntime.runMain(program.pipe(Effect.scoped, Effect.provide(services)))
