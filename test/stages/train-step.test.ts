import type { RecordBatch } from "apache-arrow"
import { Effect, Schema, Stream } from "effect"
import { describe, expect, it } from "vitest"
import { initialTensors } from "#model/initial.ts"
import { Networks, type NetworksShape } from "#model/networks.ts"
import { mmtLoss } from "#model/objective.ts"
import { batchOf, viewOf } from "#schemas/artifact.ts"
import { batches } from "#schemas/batches.ts"
import { checkpoint } from "#schemas/checkpoint.ts"
import { centroids } from "#schemas/pseudo-labels.ts"
import { trainMetrics } from "#schemas/train-metrics.ts"
import { EmaUpdateParams, emaUpdateStage } from "#stages/ema-update.ts"
import { TrainStepParams, trainStepStage } from "#stages/train-step.ts"
import { arrowBytes } from "../schemas/arrow-bytes.ts"
import { drain, inlet, run } from "./run-stage.ts"
import { startTraining, tinyBatch, tinyClasses, tinyDimension, tinyModel, tinyRows, tinySize } from "./tiny-training.ts"

const iterations = (from: number, to: number, views = 2) =>
  Array.from({ length: to - from }, (_, i) => tinyBatch(from + i, views))

const loss = (row: RecordBatch, name: string) => Number(row.getChild(name)!.get(0))

/** The weights and statistics of all networks, to be compared. */
const state = (networks: NetworksShape) =>
  Effect.map(Effect.forEach(networks.names(), networks.get), (all) =>
    all.map((network) => [network.name, [...network.read()]] as const)
  )

const hard = { ...mmtLoss, weights: { identity: 1, triplet: 1, softIdentity: 0, softTriplet: 0 } }

describe("train-step", () => {
  it("gives a row of losses an iteration and the networks at the end", () =>
    run(
      Effect.gen(function* () {
        const out = yield* drain(yield* startTraining(iterations(0, 3), { epoch: 2 }))
        const rows = out["train-metrics"].map((batch) => viewOf(trainMetrics, batch))
        expect(rows.map(({ epoch, iteration }) => [epoch[0], iteration[0]])).toEqual([
          [2, 0],
          [2, 1],
          [2, 2]
        ])
        const terms = ["ce1", "tri1", "softCe1", "softTri1", "ce2", "tri2", "softCe2", "softTri2"]
        for (const batch of out["train-metrics"]) {
          expect(batch.schema.names.slice(4)).toEqual([...terms, "total"])
          const weights = [0.5, 0.2, 0.5, 0.8, 0.5, 0.2, 0.5, 0.8]
          const total = terms.reduce((sum, term, i) => sum + weights[i]! * loss(batch, term), 0)
          expect(loss(batch, "total")).toBeCloseTo(total, 4)
        }
        const { network } = viewOf(checkpoint, out.checkpoint[0]!)
        expect([...new Set(network)]).toEqual(["student-1", "student-2", "teacher-1", "teacher-2"])
      })
    ))

  it("without batches gives the networks as they start: without classes, with teachers as copies", () =>
    run(
      Effect.gen(function* () {
        const networks = yield* Networks
        const out = yield* drain(yield* startTraining([]))
        expect(out["train-metrics"]).toEqual([])
        const { network, name, shape } = viewOf(checkpoint, out.checkpoint[0]!)
        expect([...new Set(network)]).toEqual(["student-1", "student-2", "teacher-1", "teacher-2"])
        expect(shape[name.indexOf("classifier.weight")]).toEqual([0, tinyDimension])
        const fresh = yield* networks.get("student-2")
        const drawn = initialTensors(tinyModel, 0, 2)
        expect(fresh.read().get("backbone.conv1.weight")).toEqual(drawn.get("backbone.conv1.weight"))
      })
    ))

  it("without batches and without networks says that there are none", () =>
    run(
      Effect.gen(function* () {
        const none = { artifact: batches, source: "none.arrow", files: [], batches: Stream.empty }
        const params = yield* Schema.decodeEffect(TrainStepParams)({})
        const outlets = yield* trainStepStage.run(
          { batches: none, checkpoint: undefined, centroids: undefined },
          params
        )
        const error = yield* Effect.flip(Stream.runDrain(outlets["train-metrics"]))
        expect(error._tag).toBe("NetworkMissing")
      })
    ))

  it("lowers the supervised loss of a single network, without teachers", () =>
    run(
      Effect.gen(function* () {
        const same = Array.from({ length: 40 }, () => tinyBatch(0, 1))
        const params = { students: ["student-1"], meanTeachers: false, loss: hard, iterations: 40 }
        const schedule = { base: 1e-2, warmupEpochs: 0, milestones: [], factor: 0.1 }
        const out = yield* drain(yield* startTraining(same, { ...params, schedule }))
        const rows = out["train-metrics"]
        expect(rows[0]!.schema.names.slice(4)).toEqual(["ce1", "tri1", "total"])
        expect(loss(rows.at(-1)!, "total")).toBeLessThan(loss(rows[0]!, "total") / 2)
      })
    ))

  it("gives each student weights of its own and each teacher those of its student", () =>
    run(
      Effect.gen(function* () {
        const networks = yield* Networks
        const outlets = yield* startTraining(iterations(0, 1), {
          schedule: { base: 1e-30, warmupEpochs: 0, milestones: [], factor: 1 }
        })
        yield* drain(outlets)
        const weights = (name: string) =>
          Effect.map(networks.get(name), (network) => network.read().get("backbone.conv1.weight")!.values)
        expect(yield* weights("student-1")).not.toEqual(yield* weights("student-2"))
        expect(yield* weights("teacher-1")).toEqual(yield* weights("student-1"))
        expect(yield* weights("teacher-2")).toEqual(yield* weights("student-2"))
      })
    ))

  it.each([true, false])("goes on from a checkpoint as if it had never stopped (compiled: %s)", (compiled) =>
    run(
      Effect.gen(function* () {
        const networks = yield* Networks
        for (const [seed, name] of ["student-1", "student-2"].entries())
          networks.create(name, tinyModel, tinyClasses, seed)
        const origin = networks.save({ optimizer: false })
        const train = (given: ReadonlyArray<RecordBatch>, from: RecordBatch) =>
          Effect.flatMap(
            startTraining(given, { optimizer: "continued", compiled }, { checkpoint: inlet(checkpoint, [from]) }),
            drain
          )
        const whole = yield* train(iterations(0, 6), origin)
        const first = yield* train(iterations(0, 3), origin)
        const second = yield* train(iterations(3, 6), first.checkpoint[0]!)
        expect(arrowBytes(second.checkpoint)).toEqual(arrowBytes(whole.checkpoint))
        const totals = (rows: ReadonlyArray<RecordBatch>) => rows.map((row) => loss(row, "total"))
        expect(totals([...first["train-metrics"], ...second["train-metrics"]])).toEqual(totals(whole["train-metrics"]))
      })
    )
  )

  it.each([
    ["mean teachers", {}],
    ["soft labels of the students", { meanTeachers: false, loss: { ...mmtLoss, softLabels: "students" } }],
    ["mean teachers and hard labels alone", { loss: hard }],
    [
      "a projection and dropout",
      { initial: { model: { ...tinyModel, embedding: 5, dropout: 0.5, samplesPerBatchNorm: 3 }, seed: 1 } }
    ]
  ] as const)("computes the same compiled and op by op, to rounding: %s", async (_, params) => {
    const train = (compiled: boolean) =>
      run(Effect.flatMap(startTraining(iterations(0, 4), { ...params, compiled }), drain))
    const [compiled, eager] = [await train(true), await train(false)]
    for (const [i, row] of compiled["train-metrics"].entries())
      for (const name of row.schema.names.slice(4))
        expect(loss(row, String(name))).toBeCloseTo(loss(eager["train-metrics"][i]!, String(name)), 4)
  })

  it.each([true, false])(
    "takes teachers' running statistics from their own forward passes, also where no loss reads them (compiled: %s)",
    (compiled) =>
      run(
        Effect.gen(function* () {
          const networks = yield* Networks
          const statistics = (weights: typeof hard.weights) =>
            Effect.gen(function* () {
              // A rate so small that the weights of teachers and students stay the same.
              const schedule = { base: 1e-30, warmupEpochs: 0, milestones: [], factor: 1 }
              const loss = { ...mmtLoss, weights }
              yield* networks.load([start], "memory")
              yield* drain(yield* startTraining(iterations(0, 3), { loss, schedule, compiled }))
              const read = (name: string) => Effect.map(networks.get(name), (network) => network.read())
              return yield* Effect.forEach(["teacher-1", "teacher-2"], read)
            })
          for (const [seed, name] of ["student-1", "student-2"].entries())
            networks.create(name, tinyModel, tinyClasses, seed)
          const start = networks.save({ optimizer: false })
          const [soft, alone] = [yield* statistics(mmtLoss.weights), yield* statistics(hard.weights)]
          expect(alone).toEqual(soft)
          for (const tensors of alone) {
            expect(tensors.get("head.feat_bn.num_batches_tracked")!.values).toEqual(Float64Array.of(3))
            expect(tensors.get("backbone.bn1.running_mean")!.values).not.toEqual(new Float32Array(4))
          }
        })
      )
  )

  it("draws dropout by seed, epoch, iteration and network: the same bytes each time, others by any other", async () => {
    const initial = { model: { ...tinyModel, embedding: 5, dropout: 0.5 }, seed: 1 }
    const train = (params: Partial<typeof TrainStepParams.Encoded>, from = 0) =>
      run(Effect.flatMap(startTraining(iterations(from, from + 2), { initial, ...params }), drain))
    const bytes = async (params: Partial<typeof TrainStepParams.Encoded>) =>
      arrowBytes((await train({ compiled: true, ...params })).checkpoint)
    const before = await bytes({})
    expect(await bytes({})).toEqual(before)
    for (const other of [{ seed: 2 }, { epoch: 2 }]) expect(await bytes(other)).not.toEqual(before)
  })

  it("draws a mask of its own for each network", () =>
    run(
      Effect.gen(function* () {
        const networks = yield* Networks
        const model = { ...tinyModel, dropout: 0.5 }
        const first = networks.create("student-1", model, tinyClasses, 1)
        for (const name of ["student-2", "teacher-1", "teacher-2"]) networks.copy(first, name)
        // All four see the same images with the same weights.
        const half = tinyBatch(0, 1)
        const pixels = half.getChild("pixels")!.data[0]!.children[0]!.values as Float32Array
        const both = tinyBatch(0, 2, { pixels: (all) => all.map((_, i) => pixels[i % pixels.length]!) })
        const out = yield* drain(yield* startTraining([both]))
        const row = out["train-metrics"][0]!
        const values = ["ce1", "ce2", "softCe1", "softCe2"].map((name) => loss(row, name))
        expect(new Set(values).size).toBe(4)
        // The features that triplet losses compare are before the dropout.
        expect(loss(row, "tri1")).toBe(loss(row, "tri2"))
      })
    ))

  it("takes L2-normalised centroids as every network's classifier", () =>
    run(
      Effect.gen(function* () {
        const networks = yield* Networks
        const label = Int32Array.of(2, 0, 1)
        const centroid = Float32Array.from({ length: 3 * tinyDimension }, (_, at) => (at % 5) + 1)
        const given = inlet(centroids, [batchOf(centroids, { label, size: Int32Array.of(1, 1, 1), centroid }, {})])
        const schedule = { base: 1e-30, warmupEpochs: 0, milestones: [], factor: 1 }
        yield* drain(yield* startTraining(iterations(0, 1), { schedule }, { centroids: given }))
        for (const name of networks.names()) {
          const { values, shape } = (yield* networks.get(name)).read().get("classifier.weight")!
          expect(shape).toEqual([3, tinyDimension])
          for (const [at, row] of [2, 0, 1].entries()) {
            const own = centroid.subarray(at * tinyDimension, (at + 1) * tinyDimension)
            for (let d = 0; d < tinyDimension; d++)
              expect(values[row * tinyDimension + d]).toBeCloseTo(own[d]! / Math.hypot(...own), 5)
          }
        }
      })
    ))

  it("stops at a loss that is no number, and keeps no network that may hold it", () =>
    run(
      Effect.gen(function* () {
        const networks = yield* Networks
        yield* drain(yield* startTraining(iterations(0, 2)))
        const broken = tinyBatch(4, 2, { pixels: (pixels) => pixels.fill(Number.NaN) })
        const outlets = yield* startTraining([tinyBatch(2), tinyBatch(3), broken, tinyBatch(5)], {
          epoch: 3,
          compiled: true
        })
        const seen: Array<number> = []
        const rows = outlets["train-metrics"].pipe(
          Stream.runForEach((row) => Effect.sync(() => seen.push(Number(row.getChild("iteration")!.get(0)))))
        )
        const saved = Stream.runCollect(outlets.checkpoint)
        const error = yield* Effect.flip(Effect.all([rows, saved], { concurrency: "unbounded" }))
        expect(error).toMatchObject({ _tag: "LossNotFinite", epoch: 3, iteration: 4 })
        expect(error.message).toMatch(
          /^epoch 3, iteration 4: loss term "\w+" is NaN, expected a finite number; lower the learning rate or check the input$/
        )
        expect(seen).toEqual([2, 3])
        expect(networks.names()).toEqual([])
        expect((yield* Effect.flip(networks.get("student-1"))).message).toContain("give a checkpoint that holds it")
      })
    ))

  it.each([
    [
      "a label outside the classes",
      tinyBatch(0, 2, { label: (label) => label.map((l) => (l === 0 ? 3 : l)) }),
      'column "label": 3, expected 0 … 2, the networks\' classes'
    ],
    [
      "a negative label",
      tinyBatch(0, 2, { label: (label) => label.map((l) => (l === 0 ? -1 : l)) }),
      'column "label": -1, expected 0 … 2, the networks\' classes'
    ],
    [
      "one view for two students",
      tinyBatch(0, 1),
      'column "view": expected 2 views of the same rows, one after the other'
    ],
    [
      "views that alternate",
      tinyBatch(0, 2, { view: (view) => view.map((_, row) => row % 2) }),
      'column "view": expected 2 views of the same rows, one after the other'
    ],
    [
      "views with different labels",
      tinyBatch(0, 2, { label: (label) => label.map((l, row) => (row === tinyRows + 1 ? 2 : l)) }),
      'column "label": row 7 is 2, in view 0 it is 0'
    ],
    [
      "pixels of another size",
      tinyBatch(0, 2, { size: { height: 9, width: 4 } }),
      'column "pixels": 96 values a row, expected 9·4·3 as its metadata says'
    ],
    [
      "no rows",
      batchOf(
        batches,
        {
          image: [],
          label: new Int32Array(),
          camera: new Int32Array(),
          view: new Int8Array(),
          pixels: new Float32Array()
        },
        { ...tinySize, classes: tinyClasses, iteration: 0 }
      ),
      "a batch without rows"
    ]
  ])("refuses %s", async (_, batch, problem) => {
    const error = await run(
      Effect.gen(function* () {
        const outlets = yield* startTraining([batch])
        return yield* Effect.flip(Stream.runDrain(outlets["train-metrics"]))
      })
    )
    expect(error.message).toBe(`batches.arrow: ${problem}`)
  })

  it.each([true, false])(
    "refuses a batch that samplesPerBatchNorm does not divide (compiled: %s)",
    async (compiled) => {
      const initial = { model: { ...tinyModel, samplesPerBatchNorm: 4 }, seed: 1 }
      const error = await run(
        Effect.gen(function* () {
          const outlets = yield* startTraining([tinyBatch(0)], { initial, compiled })
          return yield* Effect.flip(Stream.runDrain(outlets["train-metrics"]))
        })
      )
      expect(error._tag).toBe("BatchUnusable")
      expect(error.message).toBe(
        `batches.arrow: a training batch of ${tinyRows} images, expected a multiple of 4, the model's samplesPerBatchNorm; change one of the two`
      )
    }
  )

  it.each([
    ["a gap in the labels", Int32Array.of(0, 2), 2 * tinyDimension, "its labels are not 0 … 1, each once"],
    ["a label twice", Int32Array.of(0, 0), 2 * tinyDimension, "its labels are not 0 … 1, each once"],
    ["no rows", new Int32Array(), 0, "it holds no centroids"],
    [
      "another width than the features",
      Int32Array.of(0, 1),
      tinyDimension,
      "its centroids have 4 values, the features of student-1 8"
    ]
  ])("refuses centroids with %s", async (_, label, values, problem) => {
    const batch = batchOf(centroids, { label, size: label, centroid: new Float32Array(values).fill(1) }, {})
    const given = { centroids: inlet(centroids, [batch], "centroids.arrow") }
    const error = await run(
      Effect.gen(function* () {
        const outlets = yield* startTraining([tinyBatch(0)], {}, given)
        return yield* Stream.runDrain(outlets["train-metrics"])
      }).pipe(Effect.flip)
    )
    expect(error.message).toBe(`centroids.arrow: ${problem}`)
  })

  it.each([
    [{ students: [] }, "students: expected at least one network"],
    [{ meanTeachers: false }, "softIdentity and softTriplet must be 0 without meanTeachers"],
    [
      { students: ["student-1"], meanTeachers: false, loss: { ...mmtLoss, softLabels: "students" } },
      "students: expected two networks, of which each takes its soft labels from the other"
    ],
    [{ students: ["model"] }, 'students: "model" has no mean teacher'],
    [
      { loss: { ...mmtLoss, weights: { identity: 0, triplet: 0, softIdentity: 0, softTriplet: 0 } } },
      "loss.weights: expected one above 0 at least"
    ]
  ])("refuses parameters %j", (params, message) => {
    expect(() => Schema.decodeUnknownSync(TrainStepParams)(params)).toThrow(message)
  })

  it("names the network that is nowhere", async () => {
    const one = await run(
      Effect.flatMap(
        startTraining(iterations(0, 1, 1), { students: ["student-1"], meanTeachers: false, loss: hard }),
        drain
      )
    )
    const error = await run(
      Effect.gen(function* () {
        const outlets = yield* startTraining([tinyBatch(0)], {}, { checkpoint: inlet(checkpoint, one.checkpoint) })
        return yield* Effect.flip(Stream.runDrain(outlets["train-metrics"]))
      })
    )
    expect(error.message).toBe('network "student-2" is not there (present: student-1); give a checkpoint that holds it')
  })
})

/** train-step and ema-update as an epoch chains them. */
const epoch = (
  given: ReadonlyArray<RecordBatch>,
  params: Partial<typeof TrainStepParams.Encoded> = {},
  updates: typeof EmaUpdateParams.Encoded = {}
) =>
  Effect.gen(function* () {
    const trained = yield* startTraining(given, params)
    const rows = { ...inlet(trainMetrics, []), batches: trained["train-metrics"].pipe(Stream.orDie) }
    const settings = yield* Schema.decodeEffect(EmaUpdateParams)(updates)
    return yield* emaUpdateStage.run({ "train-metrics": rows, checkpoint: undefined }, settings)
  })

describe("train-step and ema-update", () => {
  it.each([
    [200, true],
    [12, false]
  ])("hold no more tensors after %s steps than after the first (compiled: %s)", (steps, compiled) =>
    run(
      Effect.gen(function* () {
        const { session } = yield* Networks
        const updated = yield* epoch(iterations(0, steps), { compiled, iterations: steps })
        const counts: Array<number> = []
        yield* Stream.runForEach(updated["train-metrics"], () =>
          Effect.sync(() => counts.push(session.tf.memory().numTensors))
        )
        expect(counts.length).toBe(steps)
        expect(new Set(counts)).toEqual(new Set([counts[0]]))
      })
    )
  )

  it("count the mean teachers' updates over the whole adaptation", () =>
    run(
      Effect.gen(function* () {
        const networks = yield* Networks
        const weights = (name: string) =>
          Effect.map(networks.get(name), (network) => network.read().get("classifier.weight")!.values)
        yield* Stream.runDrain((yield* epoch(iterations(0, 1)))["train-metrics"])
        // The first update copies the student.
        expect(yield* weights("teacher-1")).toEqual(yield* weights("student-1"))
        const before = yield* weights("teacher-1")
        yield* Stream.runDrain((yield* epoch(iterations(1, 2), { epoch: 2 }))["train-metrics"])
        const [student, teacher] = [yield* weights("student-1"), yield* weights("teacher-1")]
        for (const [i, value] of teacher.entries()) expect(value).toBeCloseTo((before[i]! + student[i]!) / 2, 6)
        expect(networks.teacherStep).toBe(2)
      })
    ))
})

describe("teachers that move before the forward passes", () => {
  const weights = (name: string) =>
    Effect.flatMap(Networks, (networks) =>
      Effect.map(networks.get(name), (network) => network.read().get("classifier.weight")!.values)
    )

  it.each([true, false])("are an update behind those that move after the step (compiled: %s)", (compiled) =>
    run(
      Effect.gen(function* () {
        const updates = { when: "before-forward", warmup: false, momentum: 0.5 } as const
        const networks = yield* Networks
        const [students, teachers]: [Array<Float32Array>, Array<Float32Array>] = [[], []]
        const rows = (yield* epoch(iterations(0, 3), { compiled }, updates))["train-metrics"]
        yield* Stream.runForEach(rows, () =>
          Effect.gen(function* () {
            students.push((yield* weights("student-1")) as Float32Array)
            teachers.push((yield* weights("teacher-1")) as Float32Array)
          })
        )
        expect(networks.teacherStep).toBe(3)
        for (const at of [1, 2])
          for (const [i, value] of teachers[at]!.entries())
            expect(value).toBeCloseTo((teachers[at - 1]![i]! + students[at - 1]![i]!) / 2, 6)
        // The next epoch takes up where this one ended: its first update is the one that was left open.
        yield* Stream.runDrain((yield* epoch(iterations(3, 4), { compiled, epoch: 2 }, updates))["train-metrics"])
        for (const [i, value] of (yield* weights("teacher-1")).entries())
          expect(value).toBeCloseTo((teachers[2]![i]! + students[2]![i]!) / 2, 6)
      })
    )
  )
})

describe("ema-update", () => {
  it.each(["after-step", "before-forward"] as const)(
    "moves the networks of a checkpoint once for each row, and their running statistics never (%s)",
    async (when) => {
      const trained = await run(Effect.flatMap(startTraining(iterations(0, 3)), drain))
      const row = (batch: number) => trained["train-metrics"][batch]!
      const out = await run(
        Effect.gen(function* () {
          const networks = yield* Networks
          const given = {
            "train-metrics": inlet(trainMetrics, [row(0), row(1)]),
            checkpoint: inlet(checkpoint, trained.checkpoint)
          }
          const params = { students: ["student-1"], momentum: 0.5, warmup: true, when } as const
          const outlets = yield* emaUpdateStage.run(given, params)
          const drained = yield* drain(outlets)
          return { ...drained, after: yield* state(networks) }
        })
      )
      const before = new Map(
        await run(
          Effect.gen(function* () {
            const networks = yield* Networks
            yield* networks.load(trained.checkpoint, "memory")
            return yield* state(networks)
          })
        )
      )
      expect(out["train-metrics"].length).toBe(2)
      for (const [name, tensors] of out.after) {
        const old = new Map(before.get(name)!)
        const student = new Map(before.get("student-1")!)
        for (const [key, { values }] of tensors) {
          const moves = name === "teacher-1" && !/running|num_batches|feat_bn\.bias/.test(key)
          // α is 0 in the first update, 0.5 in the second: the teacher is its student, which stands still.
          expect(values).toEqual((moves ? student : old).get(key)!.values)
        }
      }
    }
  )
})
