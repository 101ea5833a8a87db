/** Normalisation of groups of images and of single ones, against a plain computation. */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { Effect } from "effect"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { random } from "#data/random.ts"
import {
  type Affine,
  batchNormTrain,
  composedNormalisation,
  fusedNormalisation,
  instanceNorm,
  type Normalisation
} from "#engine/normalisation.ts"
import { Session, type SessionShape } from "#engine/session.ts"
import { run } from "../stages/run-stage.ts"

type Shape = readonly [images: number, height: number, width: number, channels: number]
type Numbers = ReadonlyArray<number>

const normals = (seed: number, size: number, scale = 1, shift = 0) => {
  const draw = random(seed)
  return Float32Array.from({ length: size }, () => shift + scale * draw.normal())
}

const meanOf = (values: Numbers) => values.reduce((a, b) => a + b, 0) / values.length

const expectClose = (found: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number) => {
  expect(found.length).toBe(expected.length)
  for (let i = 0; i < expected.length; i++)
    if (!(Math.abs(found[i]! - expected[i]!) <= tolerance * (1 + Math.abs(expected[i]!))))
      expect.fail(`[${i}]: found ${found[i]}, expected ${expected[i]}`)
}

/** What a normalisation of groups of images gives and how it passes a gradient back, in double precision. */
const reference = (
  x: Float32Array,
  dy: Float32Array,
  scale: ArrayLike<number>,
  shift: ArrayLike<number>,
  groups: number
) => {
  const channels = scale.length
  const size = x.length / groups
  const out = {
    y: new Float64Array(x.length),
    dx: new Float64Array(x.length),
    dScale: new Float64Array(channels),
    dShift: new Float64Array(channels),
    /** Of each group and channel. */
    mean: [] as Array<Array<number>>,
    unbiased: [] as Array<Array<number>>
  }
  for (let group = 0; group < groups; group++) {
    const rows = Array.from({ length: size / channels }, (_, row) => group * size + row * channels)
    const statistics = Array.from({ length: channels }, (_, c) => {
      const mean = meanOf(rows.map((row) => x[row + c]!))
      const variance = meanOf(rows.map((row) => (x[row + c]! - mean) ** 2))
      const deviation = Math.sqrt(variance + 1e-5)
      const normalised = rows.map((row) => (x[row + c]! - mean) / deviation)
      const upstream = rows.map((row) => dy[row + c]!)
      const along = meanOf(upstream.map((d, i) => d * normalised[i]!))
      for (const [i, row] of rows.entries()) {
        out.y[row + c] = normalised[i]! * scale[c]! + shift[c]!
        out.dx[row + c] = (scale[c]! / deviation) * (upstream[i]! - meanOf(upstream) - normalised[i]! * along)
      }
      out.dScale[c] = out.dScale[c]! + along * rows.length
      out.dShift[c] = out.dShift[c]! + meanOf(upstream) * rows.length
      return { mean, unbiased: (variance * rows.length) / Math.max(1, rows.length - 1) }
    })
    out.mean.push(statistics.map(({ mean }) => mean))
    out.unbiased.push(statistics.map(({ unbiased }) => unbiased))
  }
  return out
}

type Statistics = Pick<ReturnType<typeof reference>, "mean" | "unbiased">

/**
 * Whether the values of a group and channel differ by more than a hundredth of their mean. In float32 the mean is off by
 * some 1e-7 of it, and a gradient by that over the square of the deviation: nearly equal values far from 0 do not have one.
 */
const isToldApart = ({ mean, unbiased }: Statistics, group: number, channel: number) =>
  Math.sqrt(unbiased[group]![channel]!) > Math.abs(mean[group]![channel]!) / 100

const areAllToldApart = (statistics: Statistics) =>
  statistics.mean.every((means, group) => means.every((_, channel) => isToldApart(statistics, group, channel)))

const givenFields = {
  groups: fc.integer({ min: 1, max: 4 }),
  samples: fc.integer({ min: 1, max: 3 }),
  height: fc.integer({ min: 2, max: 5 }),
  width: fc.integer({ min: 1, max: 5 }),
  channels: fc.integer({ min: 1, max: 6 }),
  seed: fc.nat(1000),
  shift: fc.constantFrom(0, 3, -20)
}
const given = fc.record(givenFields)

/** Calls `norm` on drawn images and compares value and gradients with the reference of as many groups. */
const check = (
  { tf, variable }: SessionShape,
  shape: Shape,
  groups: number,
  { seed, shift: offset }: { readonly seed: number; readonly shift: number },
  norm: (x: tfjs.Tensor4D, layer: Affine) => tfjs.Tensor4D
) => {
  const size = shape.reduce((a, b) => a * b, 1)
  const [x, dy] = [normals(seed, size, 1.5, offset), normals(seed + 1, size)]
  const scale = variable("scale", () => tf.tensor1d(normals(seed + 2, shape[3], 0.2, 1)))
  const shift = variable("shift", () => tf.tensor1d(normals(seed + 3, shape[3], 0.2)))
  const images = variable("images", () => tf.tensor4d(x, [...shape]))
  const expected = reference(x, dy, scale.dataSync(), shift.dataSync(), groups)
  fc.pre(areAllToldApart(expected))
  tf.tidy(() => {
    let y: tfjs.Tensor | undefined
    const { grads } = tf.variableGrads(() => {
      y = norm(images as tfjs.Tensor as tfjs.Tensor4D, { scale, shift })
      expectClose(y.dataSync(), expected.y, 1e-4)
      return tf.sum(tf.mul(y, tf.tensor4d(dy, [...shape]))) as tfjs.Scalar
    }, [images, scale, shift])
    expect(y!.shape).toEqual(shape)
    expectClose(grads[images.name]!.dataSync(), expected.dx, 1e-3)
    expectClose(grads[scale.name]!.dataSync(), expected.dScale, 1e-3)
    expectClose(grads[shift.name]!.dataSync(), expected.dShift, 1e-4)
  })
  return expected
}

const withSession = (body: (session: SessionShape) => void) =>
  run(Effect.map(Session, (session) => session.tf.tidy(() => body(session))))

describe("batch normalisation of groups", () => {
  it("normalises each consecutive group on its own; the first alone moves the running statistics", () =>
    withSession((session) => {
      const { tf, variable } = session
      fc.assert(
        fc.property(given, ({ groups, samples, height, width, channels, ...drawn }) => {
          const runningMean = variable("mean", () => tf.tensor1d(normals(drawn.seed + 4, channels)))
          const runningVariance = variable("variance", () => tf.tensor1d(normals(drawn.seed + 5, channels, 0.1, 2)))
          const before = [runningMean, runningVariance].map((running) => running.dataSync())
          const shape = [groups * samples, height, width, channels] as const
          const { mean, unbiased } = check(session, shape, groups, drawn, (x, layer) =>
            batchNormTrain(tf, x, { ...layer, runningMean, runningVariance }, {}, groups)
          )
          const moved = (at: number, batch: Numbers) => batch.map((value, c) => 0.9 * before[at]![c]! + 0.1 * value)
          expectClose(runningMean.dataSync(), moved(0, mean[0]!), 1e-5)
          expectClose(runningVariance.dataSync(), moved(1, unbiased[0]!), 1e-5)
        }),
        { numRuns: 40 }
      )
    }))
})

describe("instance normalisation", () => {
  it("normalises each image on its own", () =>
    withSession((session) => {
      fc.assert(
        fc.property(given, ({ groups, height, width, channels, ...drawn }) => {
          const shape = [groups, height, width, channels] as const
          check(session, shape, groups, drawn, (x, layer) => instanceNorm(session.tf, x, layer))
        }),
        { numRuns: 40 }
      )
    }))
})

describe("normalisation by the CPU's own op", () => {
  it("is what TensorFlow's ops make of it, with a residual and a ReLU, gradients and running statistics included", () =>
    withSession(({ tf, variable }) => {
      const after = fc.record({ relu: fc.boolean(), residual: fc.boolean() })
      const wide = fc.record({ ...givenFields, channels: fc.constantFrom(1, 3, 16, 40, 300) })
      fc.assert(
        fc.property(
          wide,
          after,
          ({ groups, samples, height, width, channels, seed, shift: offset }, { relu, residual }) => {
            const shape = [groups * samples, height, width, channels] as const
            const size = shape.reduce((a, b) => a * b, 1)
            const images = (key: number, mean = 0) => tf.tensor4d(normals(seed + key, size, 1.5, mean), [...shape])
            const made = (normalisation: Normalisation, relu: boolean, dy: Float32Array) => {
              const named = (name: string, key: number, scale: number, mean: number) =>
                variable(name, () => tf.tensor1d(normals(seed + key, channels, scale, mean)))
              const layer = { scale: named("scale", 3, 0.2, 1), shift: named("shift", 4, 0.2, 0) }
              const running = { runningMean: named("mean", 5, 1, 0), runningVariance: named("variance", 6, 0.1, 2) }
              const x = variable("x", () => images(0, offset))
              const other = variable("residual", () => images(1))
              const added = residual ? (other as tfjs.Tensor as tfjs.Tensor4D) : undefined
              let values: ArrayLike<number> | undefined
              const { grads } = tf.variableGrads(() => {
                const y = normalisation(
                  tf,
                  x as tfjs.Tensor as tfjs.Tensor4D,
                  layer,
                  { relu, residual: added },
                  groups,
                  running
                )
                values = y.dataSync()
                return tf.sum(tf.mul(y, tf.tensor4d(dy, [...shape]))) as tfjs.Scalar
              }, [x, layer.scale, layer.shift, ...(residual ? [other] : [])])
              const moved = [running.runningMean, running.runningVariance]
              const tensors = [...moved, ...Object.keys(grads).map((name) => grads[name]!)]
              return [values!, ...tensors.map((tensor) => tensor.dataSync())]
            }
            const dy = normals(seed + 2, size, 1.5)
            const zeros = new Float32Array(channels)
            const statistics = reference(normals(seed, size, 1.5, offset), dy, zeros, zeros, groups)
            const before = made(composedNormalisation, false, dy)[0]!
            // Rounding decides on which side of the ReLU values about 0 are, and what comes back from nearly equal values far
            // from 0: no gradient comes to either.
            const clear = dy.map((value, i) =>
              Math.abs(before[i]!) >= 1e-3 && isToldApart(statistics, Math.floor((i * groups) / size), i % channels)
                ? value
                : 0
            )
            const expected = made(composedNormalisation, relu, clear)
            for (const [i, found] of made(fusedNormalisation, relu, clear).entries())
              expectClose(found, expected[i]!, 2e-3)
          }
        ),
        { numRuns: 60 }
      )
    }))
})
