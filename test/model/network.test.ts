/** A network's forward passes: inference with BatchNorm folded, and BatchNorm over groups of a batch. */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { random } from "#data/random.ts"
import { Programs } from "#engine/programs.ts"
import { Session, type SessionShape } from "#engine/session.ts"
import { adamDefaults } from "#model/adam.ts"
import { BatchNotDivisible, type Network } from "#model/network.ts"
import { Networks } from "#model/networks.ts"
import { mmtLoss } from "#model/objective.ts"
import { compiledTrainer } from "#model/trainer.ts"
import { run } from "../stages/run-stage.ts"
import { drawnImages, drawnNetwork, tinyGeometry, tinyModels } from "./tiny-networks.ts"

const withSession = (body: (session: SessionShape) => void) =>
  run(Effect.map(Session, (session) => session.tf.tidy(() => body(session))))

const expectClose = (found: tfjs.Tensor, expected: tfjs.Tensor, tolerance: number) => {
  expect(found.shape).toEqual(expected.shape)
  const [values, references] = [found.dataSync(), expected.dataSync()] as [Float32Array, Float32Array]
  const largest = references.reduce((a, b) => Math.max(a, Math.abs(b)), 0)
  expect(largest).toBeGreaterThan(0)
  for (let i = 0; i < references.length; i++)
    if (!(Math.abs(values[i]! - references[i]!) <= tolerance * largest))
      expect.fail(`[${i}]: found ${values[i]}, expected ${references[i]}`)
}

const expectFolded = (network: Network, images: tfjs.Tensor4D) =>
  expectClose(network.embed(images), network.forward(images, "evaluate").neck, 1e-5)

describe.each(Object.entries(tinyModels))("inference of %s", (_, model) => {
  it("gives what evaluation gives, also after the weights or the running statistics have changed", () =>
    withSession((session) => {
      const { tf } = session
      const network = drawnNetwork(session, "student-1", model)
      const images = drawnImages(session, 3)
      expectFolded(network, images)
      const before = network.embed(images)
      for (const name of ["backbone.conv1.weight", "backbone.bn1.bias", "backbone.layer4.0.bn2.running_var"]) {
        const variable = network.variables.get(name)!
        variable.assign(tf.add(tf.mul(variable, 1.5), 0.1))
        expectFolded(network, images)
      }
      expect(tf.max(tf.abs(tf.sub(network.embed(images), before))).dataSync()[0]).toBeGreaterThan(0.01)
      network.forward(drawnImages(session, 8, 2), "train", tf.tensor1d([1, 1], "int32"))
      expectFolded(network, images)
    }))

  it("keeps nothing of the folded weights", () =>
    withSession((session) => {
      const { tf } = session
      const images = drawnImages(session, 2)
      const start = tf.memory().numTensors
      const network = drawnNetwork(session, "student-1", model)
      const embed = () => tf.tidy(() => network.embed(images).dataSync())
      const plain = tf.memory().numTensors
      for (let time = 0; time < 3; time++) {
        for (const variable of network.variables.values()) tf.tidy(() => variable.assign(tf.mul(variable, 1.1)))
        for (let call = 0; call < 2; call++) {
          embed()
          expect(tf.memory().numTensors).toBe(plain)
        }
      }
      session.free("student-1/")
      expect(tf.memory().numTensors).toBe(start)
    }))

  it("goes on after training by a compiled program", () =>
    run(
      Effect.gen(function* () {
        const networks = yield* Networks
        const { session } = networks
        const student = networks.create("student-1", model, 4, 1)
        const images = drawnImages(session, 8)
        expectFolded(student, images)
        const before = student.embed(images)
        const trainer = yield* compiledTrainer(yield* Programs, session.tf, {
          students: [student],
          teachers: [],
          adam: networks.optimizer([student], adamDefaults, true),
          loss: { ...mmtLoss, weights: { identity: 1, triplet: 1, softIdentity: 0, softTriplet: 0 } },
          weightDecay: adamDefaults.weightDecay,
          batch: [8, 32, 16]
        })
        const labels = Int32Array.from([0, 0, 1, 1, 2, 2, 3, 3])
        const pixels = images.dataSync() as Float32Array
        yield* Effect.promise(() => trainer.step([pixels], labels, 0.1, random(1)))
        trainer.settle()
        expectFolded(student, images)
        const moved = session.tf.max(session.tf.abs(session.tf.sub(student.embed(images), before)))
        expect(moved.dataSync()[0]).toBeGreaterThan(0.01)
      })
    ))
})

describe("an embedding", () => {
  const model = { backbone: tinyGeometry, embedding: 6 } as const

  it("is BNNeck's output of the projected feature, of which training's classes see the positive part", () =>
    withSession((session) => {
      const { tf } = session
      const network = drawnNetwork(session, "student-1", model)
      expect(network.dimension).toBe(6)
      const images = drawnImages(session, 5)
      const weights = (name: string) => network.variables.get(name) as tfjs.Tensor2D
      const projected = (feature: tfjs.Tensor2D): tfjs.Tensor2D =>
        tf.add(
          tf.matMul(feature, weights("head.feat_reduction.weight"), false, true),
          weights("head.feat_reduction.bias")
        )
      const affine = (x: tfjs.Tensor, mean: tfjs.Tensor, variance: tfjs.Tensor) =>
        tf.add(
          tf.mul(tf.div(tf.sub(x, mean), tf.sqrt(tf.add(variance, 1e-5))), weights("head.feat_bn.weight")),
          weights("head.feat_bn.bias")
        )
      const evaluated = network.forward(images, "evaluate")
      expect(evaluated.feature.shape).toEqual([5, 16])
      const running = [weights("head.feat_bn.running_mean"), weights("head.feat_bn.running_var")] as const
      const expected = affine(projected(evaluated.feature), ...running)
      expectClose(evaluated.neck, expected, 1e-5)
      expect(tf.min(expected).dataSync()[0]).toBeLessThan(0)
      const trained = network.forward(images, "train")
      const { mean, variance } = tf.moments(projected(trained.feature), 0)
      const positive = tf.relu(affine(projected(trained.feature), mean, variance)) as tfjs.Tensor2D
      expectClose(trained.neck, positive, 1e-4)
      expectClose(trained.logits, tf.matMul(positive, weights("classifier.weight"), false, true), 1e-4)
    }))
})

describe("dropout", () => {
  const model = { backbone: tinyGeometry, dropout: 0.5 } as const

  it("is between BNNeck and the classifier, in training alone, by the seed", () =>
    withSession((session) => {
      const { tf } = session
      const network = drawnNetwork(session, "student-1", model)
      const plain = drawnNetwork(session, "student-1 without", { backbone: tinyGeometry })
      const images = drawnImages(session, 6)
      const seed = (first: number) => tf.tensor1d([first, 1], "int32")
      const [dropped, whole] = [network.forward(images, "train", seed(1)), plain.forward(images, "train")]
      expectClose(dropped.feature, whole.feature, 0)
      expectClose(dropped.neck, whole.neck, 0)
      expect(dropped.logits.dataSync()).not.toEqual(whole.logits.dataSync())
      expect(network.forward(images, "train", seed(1)).logits.dataSync()).toEqual(dropped.logits.dataSync())
      expect(network.forward(images, "train", seed(2)).logits.dataSync()).not.toEqual(dropped.logits.dataSync())
      const evaluated = network.forward(images, "evaluate")
      const classifier = network.variables.get("classifier.weight") as tfjs.Tensor2D
      expectClose(evaluated.logits, tf.matMul(evaluated.neck, classifier, false, true), 1e-6)
      expectFolded(network, images)
    }))
})

describe("samplesPerBatchNorm", () => {
  const samples = 3
  const model = { backbone: { ...tinyGeometry, block: "bottleneck", ibn: "a" } } as const
  const grouped = { ...model, samplesPerBatchNorm: samples }

  it("trains on each consecutive group as on a batch of its own; the first moves the running statistics", () =>
    withSession((session) => {
      const { tf } = session
      const images = drawnImages(session, 3 * samples)
      const network = drawnNetwork(session, "grouped", grouped)
      const { feature, neck, logits } = network.forward(images, "train")
      for (const group of [0, 1, 2]) {
        const alone = drawnNetwork(session, "alone", model)
        const rows = <T extends tfjs.Tensor>(x: T) => tf.slice(x, group * samples, samples) as T
        const expected = alone.forward(rows(images), "train")
        expectClose(rows(feature), expected.feature, 1e-5)
        expectClose(rows(neck), expected.neck, 1e-4)
        expectClose(rows(logits), expected.logits, 1e-4)
        if (group > 0) continue
        for (const [name, variable] of alone.variables)
          if (name.includes(".running_")) expectClose(network.variables.get(name)!, variable, 1e-5)
      }
    }))

  it("does nothing in evaluation, where a batch of any size is embedded", () =>
    withSession((session) => {
      const images = drawnImages(session, samples + 1)
      const network = drawnNetwork(session, "grouped", grouped)
      const plain = drawnNetwork(session, "plain", model)
      expectClose(network.forward(images, "evaluate").neck, plain.forward(images, "evaluate").neck, 0)
      expectFolded(network, images)
    }))

  it("refuses a batch that is no multiple of it", () =>
    run(
      Effect.gen(function* () {
        const networks = yield* Networks
        const { session } = networks
        const student = networks.create("student-1", grouped, 4, 1)
        const problem = new BatchNotDivisible({ images: 8, samplesPerBatchNorm: samples })
        expect(problem.message).toBe(
          "a training batch of 8 images, expected a multiple of 3, the model's samplesPerBatchNorm; change one of the two"
        )
        expect(() => session.tf.tidy(() => student.forward(drawnImages(session, 8), "train").neck)).toThrow(problem)
        const refused = yield* Effect.flip(
          compiledTrainer(yield* Programs, session.tf, {
            students: [student],
            teachers: [],
            adam: networks.optimizer([student], adamDefaults, true),
            loss: mmtLoss,
            weightDecay: 0,
            batch: [8, 32, 16]
          })
        )
        expect(refused.message).toContain(problem.message)
      })
    ))
})
