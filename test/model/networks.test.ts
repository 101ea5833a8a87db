import type { RecordBatch } from "apache-arrow"
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { random } from "#data/random.ts"
import { adamDefaults } from "#model/adam.ts"
import { initialTensors } from "#model/initial.ts"
import { networkTensors } from "#model/network.ts"
import { Networks, type NetworksShape } from "#model/networks.ts"
import { batchOf, viewOf } from "#schemas/artifact.ts"
import { checkpoint } from "#schemas/checkpoint.ts"
import { arrowBytes } from "../schemas/arrow-bytes.ts"
import { run } from "../stages/run-stage.ts"
import { tinyDimension, tinyModel } from "../stages/tiny-training.ts"

const withNetworks = <A, E>(body: (networks: NetworksShape) => Effect.Effect<A, E>) =>
  run(Effect.flatMap(Networks, body))

interface Rows {
  network: Array<string>
  name: Array<string>
  dtype: Array<string>
  shape: Array<ReadonlyArray<number>>
  data: Array<Uint8Array>
}

/** The batch with one of its rows (or its metadata) changed. */
const changed = (
  batch: RecordBatch,
  change: (rows: { -readonly [K in keyof Rows]: Array<Rows[K][number]> }) => void
) => {
  const { network, name, dtype, shape, data } = viewOf(checkpoint, batch)
  const rows: Rows = { network: [...network], name: [...name], dtype: [...dtype], shape: [...shape], data: [...data] }
  change(rows)
  return batchOf(checkpoint, rows, { model: JSON.stringify(tinyModel) })
}

/** Two networks with any numbers in them, an optimizer under way and a teacher's count. */
const anyState = (networks: NetworksShape) => {
  const { tf } = networks.session
  const draw = random(4)
  const students = ["student-1", "student-2"].map((name, seed) => networks.create(name, tinyModel, 3, seed))
  const settle = (variable: { shape: Array<number>; assign: (value: never) => void }) =>
    tf.tidy(() => {
      const size = variable.shape.reduce((a, b) => a * b, 1)
      const values = Float32Array.from({ length: size }, () => draw.normal() * 10 ** draw.uniform(-30, 10))
      values[0] = -0
      variable.assign(tf.tensor(values, variable.shape) as never)
    })
  const adam = networks.optimizer(students, adamDefaults, true)
  for (const { name, variables, parameters, countBatches } of students) {
    countBatches(1 + draw.int(1000))
    for (const variable of variables.values()) settle(variable)
    for (const key of parameters.keys()) for (const moment of adam.moments(`${name}/${key}`)) settle(moment)
  }
  adam.next(1)
  adam.next(1)
  networks.teacherStep = 12345
}

describe("a checkpoint", () => {
  it.each([true, false])("comes back bit by bit (with the optimizer: %s)", (optimizer) =>
    withNetworks((networks) =>
      Effect.gen(function* () {
        anyState(networks)
        const saved = networks.save({ optimizer })
        const again = yield* Effect.promise(() =>
          withNetworks((others) =>
            Effect.gen(function* () {
              yield* others.load([saved], "checkpoint.arrow")
              const students = yield* Effect.forEach(["student-1", "student-2"], others.get)
              if (optimizer) expect(others.optimizer(students, adamDefaults, false).step()).toBe(2)
              expect(others.teacherStep).toBe(12345)
              return others.save({ optimizer })
            })
          )
        )
        expect(arrowBytes([again])).toEqual(arrowBytes([saved]))
      })
    )
  )

  it("comes in several batches, a network each, as well as in one", () =>
    withNetworks((networks) =>
      Effect.gen(function* () {
        anyState(networks)
        const saved = networks.save({ optimizer: false })
        const { network } = viewOf(checkpoint, saved)
        const cut = network.indexOf("student-2")
        yield* networks.load([saved.slice(0, cut), saved.slice(cut)], "checkpoint.arrow")
        expect(arrowBytes([networks.save({ optimizer: false })])).toEqual(arrowBytes([saved]))
      })
    ))

  it("replaces all networks of a session, and frees them", () =>
    withNetworks((networks) =>
      Effect.gen(function* () {
        const { tf } = networks.session
        networks.create("student-1", tinyModel, 3, 1)
        const saved = networks.save({ optimizer: false })
        const before = tf.memory().numTensors
        networks.create("teacher-1", tinyModel, 5, 1)
        yield* networks.load([saved], "checkpoint.arrow")
        expect(networks.names()).toEqual(["student-1"])
        expect(tf.memory().numTensors).toBe(before)
      })
    ))

  it("gives the networks that are asked for alone, or all where one of these is missing", () =>
    withNetworks((networks) =>
      Effect.gen(function* () {
        anyState(networks)
        const saved = networks.save({ optimizer: false })
        const whole = (yield* networks.get("student-2")).read()
        yield* networks.load([saved], "checkpoint.arrow", ["student-2"])
        expect(networks.names()).toEqual(["student-2"])
        expect((yield* networks.get("student-2")).read()).toEqual(whole)
        yield* networks.load([saved], "checkpoint.arrow", ["student-2", "teacher-9"])
        expect(networks.names()).toEqual(["student-1", "student-2"])
      })
    ))

  const refusals: ReadonlyArray<readonly [string, (batch: RecordBatch) => RecordBatch, string]> = [
    [
      "lacks a tensor",
      (batch) =>
        changed(batch, (rows) => {
          for (const column of Object.values(rows)) column.splice(1, 1)
        }),
      "student-1 backbone.bn1.weight: missing"
    ],
    [
      "has an unknown tensor",
      (batch) => changed(batch, ({ name }) => name.splice(1, 1, "backbone.bn9.weight")),
      "student-1 backbone.bn1.weight: missing; student-1 backbone.bn9.weight: unknown"
    ],
    [
      "has a tensor of another shape",
      (batch) => changed(batch, ({ shape }) => shape.splice(1, 1, [2, 2])),
      "student-1 backbone.bn1.weight: shape [2,2], expected [4]"
    ],
    [
      "has a shape that its bytes do not fill",
      (batch) => changed(batch, ({ shape }) => shape.splice(1, 1, [5])),
      "student-1 backbone.bn1.weight: 4 values for shape [5]; student-1 backbone.bn1.weight: missing"
    ],
    [
      "has a type that no network has",
      (batch) => changed(batch, ({ dtype }) => dtype.splice(1, 1, "float16")),
      "student-1 backbone.bn1.weight: dtype float16, 16 bytes; student-1 backbone.bn1.weight: missing"
    ],
    [
      "has a tensor twice",
      (batch) =>
        changed(batch, (rows) => {
          for (const column of Object.values(rows)) (column as Array<unknown>).push(column[1])
        }),
      "student-1 backbone.bn1.weight: twice"
    ],
    [
      "has no classifier",
      (batch) =>
        changed(batch, (rows) => {
          for (const column of Object.values(rows)) column.pop()
        }),
      "student-1 classifier.weight: missing"
    ]
  ]

  it.each(refusals)("is refused where it %s, and leaves the session's networks", (_, change, problem) =>
    withNetworks((networks) =>
      Effect.gen(function* () {
        networks.create("student-1", tinyModel, 3, 1)
        const saved = networks.save({ optimizer: false })
        const error = yield* Effect.flip(networks.load([change(saved)], "checkpoint.arrow"))
        expect(error.message).toBe(`checkpoint.arrow: not a checkpoint of these networks: ${problem}`)
        expect(arrowBytes([networks.save({ optimizer: false })])).toEqual(arrowBytes([saved]))
      })
    )
  )

  it("is refused where its metadata names no architecture", () =>
    withNetworks((networks) =>
      Effect.gen(function* () {
        networks.create("student-1", tinyModel, 3, 1)
        const columns = viewOf(checkpoint, networks.save({ optimizer: false }))
        for (const model of ['{"backbone":"resnet-7"}', "resnet", "{}"]) {
          const error = yield* Effect.flip(networks.load([batchOf(checkpoint, columns, { model })], "x.arrow"))
          expect(error.message).toContain('x.arrow: not a checkpoint of these networks: metadata "model"')
        }
        const none = yield* Effect.flip(networks.load([], "x.arrow"))
        expect(none.message).toContain("it has no rows")
      })
    ))
})

describe("networks", () => {
  it("names those that are there where one is missing", () =>
    withNetworks((networks) =>
      Effect.gen(function* () {
        const none = yield* Effect.flip(networks.get("teacher-1"))
        expect(none.message).toBe('network "teacher-1" is not there (present: none); give a checkpoint that holds it')
        networks.create("student-1", tinyModel, 3, 1)
        expect((yield* Effect.flip(networks.get("teacher-1"))).message).toContain("(present: student-1)")
      })
    ))

  it("copies weights, statistics and counts", () =>
    withNetworks((networks) =>
      Effect.sync(() => {
        anyState(networks)
        const [student] = ["student-1"].map((name) => Effect.runSync(networks.get(name)))
        const teacher = networks.copy(student!, "teacher-1")
        expect([...teacher.read()]).toEqual([...student!.read()])
      })
    ))

  it("embed an image alone as among others", () =>
    withNetworks((networks) =>
      Effect.sync(() => {
        const { tf } = networks.session
        const network = networks.create("student-1", tinyModel, 3, 1)
        const images = tf.randomNormal([4, 8, 4, 3], 0, 1, "float32", 7) as Parameters<typeof network.embed>[0]
        const all = network.embed(images)
        const alone = network.embed(tf.slice(images, [2], [1]))
        expect(all.shape).toEqual([4, tinyDimension])
        const [expected, found] = [tf.slice(all, [2], [1]).dataSync(), alone.dataSync()]
        for (const [i, value] of found.entries()) expect(value).toBeCloseTo(expected[i]!, 5)
        tf.dispose([images, all, alone])
      })
    ))

  it("take a classifier of another number of classes", () =>
    withNetworks((networks) =>
      Effect.sync(() => {
        const network = networks.create("student-1", tinyModel, 3, 1)
        const weights = Float32Array.from({ length: 5 * tinyDimension }, (_, i) => i)
        network.setClassifier(weights)
        expect(network.classes()).toBe(5)
        expect(network.read().get("classifier.weight")).toEqual({ shape: [5, tinyDimension], values: weights })
      })
    ))
})

describe("initialTensors", () => {
  it("fills every tensor of the network, the same for the same seed", () => {
    const tensors = initialTensors(tinyModel, 3, 1)
    expect([...tensors.keys()]).toEqual(networkTensors(tinyModel, 3).map(({ name }) => name))
    for (const { name, shape } of networkTensors(tinyModel, 3)) {
      expect(tensors.get(name)!.shape).toEqual(shape)
      expect(tensors.get(name)!.values.length).toBe(shape.reduce((a, b) => a * b, 1))
    }
    expect(initialTensors(tinyModel, 3, 1)).toEqual(tensors)
    expect(initialTensors(tinyModel, 3, 2)).not.toEqual(tensors)
  })

  it("draws kernels by their fan-out, scales 1, shifts and means 0, variances 1", () => {
    const large = { backbone: "resnet-small" } as const
    const tensors = initialTensors(large, 10, 1)
    const { values, shape } = tensors.get("backbone.layer4.0.conv2.weight")!
    const deviation = Math.sqrt(Array.from(values).reduce((sum, value) => sum + value ** 2, 0) / values.length)
    expect(deviation / Math.sqrt(2 / (shape[0]! * shape[2]! * shape[3]!))).toBeCloseTo(1, 1)
    expect(new Set(tensors.get("backbone.bn1.weight")!.values)).toEqual(new Set([1]))
    expect(new Set(tensors.get("backbone.bn1.bias")!.values)).toEqual(new Set([0]))
    expect(new Set(tensors.get("backbone.bn1.running_mean")!.values)).toEqual(new Set([0]))
    expect(new Set(tensors.get("backbone.bn1.running_var")!.values)).toEqual(new Set([1]))
    expect(new Set(tensors.get("head.feat_bn.bias")!.values)).toEqual(new Set([0]))
  })
})
