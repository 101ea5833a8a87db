import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { Effect } from "effect"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { random } from "#data/random.ts"
import { batchNormEvaluate, batchNormTrain } from "#engine/normalisation.ts"
import { maxPool2d } from "#engine/pooling.ts"
import { Session, type SessionShape, valuesOf } from "#engine/session.ts"
import { run } from "../stages/run-stage.ts"

type Shape4 = readonly [number, number, number, number]

const withSession = (body: (session: SessionShape) => void) =>
  run(Effect.map(Session, (session) => session.tf.tidy(() => body(session))))

const normals = (seed: number, shape: ReadonlyArray<number>, scale = 1, shift = 0) => {
  const draw = random(seed)
  return Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => shift + scale * draw.normal())
}

const expectClose = (found: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number) => {
  expect(found.length).toBe(expected.length)
  for (let i = 0; i < expected.length; i++)
    if (!(Math.abs(found[i]! - expected[i]!) <= tolerance * (1 + Math.abs(expected[i]!))))
      expect.fail(`[${i}]: found ${found[i]}, expected ${expected[i]}`)
}

/** A window over a padded image: calls `at` for each place of the output with the values that the window covers. */
const slide = (
  [n, h, w]: readonly [number, number, number],
  size: number,
  stride: number,
  padding: number,
  at: (output: number, covered: ReadonlyArray<readonly [pixel: number, dy: number, dx: number]>) => void
) => {
  const [outH, outW] = [h, w].map((length) => Math.floor((length + 2 * padding - size) / stride) + 1) as [
    number,
    number
  ]
  let output = 0
  for (let image = 0; image < n; image++)
    for (let y = 0; y < outH; y++)
      for (let x = 0; x < outW; x++) {
        const covered: Array<readonly [number, number, number]> = []
        for (let dy = 0; dy < size; dy++)
          for (let dx = 0; dx < size; dx++) {
            const [row, column] = [y * stride + dy - padding, x * stride + dx - padding]
            if (row >= 0 && row < h && column >= 0 && column < w) covered.push([(image * h + row) * w + column, dy, dx])
          }
        at(output++, covered)
      }
  return [n, outH, outW] as const
}

const geometry = fc
  .record({
    n: fc.integer({ min: 1, max: 2 }),
    h: fc.integer({ min: 1, max: 9 }),
    w: fc.integer({ min: 1, max: 9 }),
    size: fc.constantFrom(1, 2, 3, 5, 7),
    stride: fc.integer({ min: 1, max: 3 }),
    padding: fc.integer({ min: 0, max: 3 }),
    seed: fc.nat(1000)
  })
  .filter(({ h, w, size, padding }) => Math.min(h, w) + 2 * padding >= size)

describe("maxPool2d", () => {
  it("takes the largest value of each window; the border never counts", () =>
    withSession(({ tf }) => {
      // PyTorch's padding is at most half a window, so that no window lies wholly in it.
      const pooled = geometry.filter(({ size, padding }) => padding <= size / 2)
      fc.assert(
        fc.property(pooled, ({ n, h, w, size, stride, padding, seed }) => {
          const x = normals(seed, [n, h, w, 2], 1, -5)
          const expected: Array<number> = []
          const [, outH, outW] = slide([n, h, w], size, stride, padding, (_, covered) => {
            for (const channel of [0, 1]) expected.push(Math.max(...covered.map(([pixel]) => x[pixel * 2 + channel]!)))
          })
          const found = maxPool2d(tf, tf.tensor4d(x, [n, h, w, 2]), size, stride, padding)
          expect(found.shape).toEqual([n, outH, outW, 2])
          expect([...found.dataSync()]).toEqual(expected)
        }),
        { numRuns: 60 }
      )
    }))
})

/** Values of one channel of [N, H, W, C]. */
const channelOf = (x: ArrayLike<number>, channels: number, channel: number) =>
  Array.from({ length: x.length / channels }, (_, row) => x[row * channels + channel]!)
const meanOf = (values: ReadonlyArray<number>) => values.reduce((a, b) => a + b, 0) / values.length

const layerOf = ({ tf, variable }: SessionShape, channels: number, seed: number) => ({
  scale: variable("scale", () => tf.tensor1d(normals(seed, [channels], 0.2, 1))),
  shift: variable("shift", () => tf.tensor1d(normals(seed + 1, [channels], 0.2))),
  runningMean: variable("mean", () => tf.tensor1d(normals(seed + 2, [channels]))),
  runningVariance: variable("variance", () => tf.tensor1d(normals(seed + 3, [channels], 0.1, 2)))
})

const normed = fc.record({
  shape: fc.tuple(
    fc.integer({ min: 2, max: 6 }),
    fc.integer({ min: 1, max: 5 }),
    fc.integer({ min: 1, max: 5 }),
    fc.integer({ min: 1, max: 6 })
  ),
  seed: fc.nat(1000),
  shift: fc.constantFrom(0, 3, -20)
})

describe("batch normalisation", () => {
  it("in training normalises by the batch and moves the running statistics, the variance by the unbiased one", () =>
    withSession((session) => {
      const { tf } = session
      fc.assert(
        fc.property(normed, ({ shape, seed, shift }) => {
          const channels = shape[3]
          const x = normals(seed, shape, 1.5, shift)
          const layer = layerOf(session, channels, seed + 10)
          const before = { mean: layer.runningMean.dataSync(), variance: layer.runningVariance.dataSync() }
          const [scale, offset] = [layer.scale.dataSync(), layer.shift.dataSync()]
          const y = valuesOf(tf, () => batchNormTrain(tf, tf.tensor4d(x, shape), layer))
          const rows = x.length / channels
          for (let c = 0; c < channels; c++) {
            const values = channelOf(x, channels, c)
            const mean = meanOf(values)
            const variance = meanOf(values.map((value) => (value - mean) ** 2))
            const expected = values.map((v) => ((v - mean) / Math.sqrt(variance + 1e-5)) * scale[c]! + offset[c]!)
            expectClose(channelOf(y, channels, c), expected, 1e-4)
            const unbiased = (variance * rows) / (rows - 1)
            expectClose([layer.runningMean.dataSync()[c]!], [0.9 * before.mean[c]! + 0.1 * mean], 1e-5)
            expectClose([layer.runningVariance.dataSync()[c]!], [0.9 * before.variance[c]! + 0.1 * unbiased], 1e-5)
          }
        }),
        { numRuns: 40 }
      )
    }))

  it("has the gradient of its formula", () =>
    withSession((session) => {
      const { tf } = session
      fc.assert(
        fc.property(normed, ({ shape, seed, shift }) => {
          const channels = shape[3]
          const [x, dy] = [normals(seed, shape, 1.5, shift), normals(seed + 1, shape)]
          const layer = layerOf(session, channels, seed + 10)
          const scale = layer.scale.dataSync()
          const loss = (input: tfjs.Tensor) =>
            tf.sum(tf.mul(batchNormTrain(tf, input as tfjs.Tensor4D, layer), tf.tensor4d(dy, shape))) as tfjs.Scalar
          const dx = valuesOf(tf, () => tf.grad(loss)(tf.tensor4d(x, shape)))
          const { grads } = tf.variableGrads(() => loss(tf.tensor4d(x, shape)), [layer.scale, layer.shift])
          for (let c = 0; c < channels; c++) {
            const [values, upstream] = [channelOf(x, channels, c), channelOf(dy, channels, c)]
            const mean = meanOf(values)
            const deviation = Math.sqrt(meanOf(values.map((value) => (value - mean) ** 2)) + 1e-5)
            const normalised = values.map((value) => (value - mean) / deviation)
            const alongX = meanOf(upstream.map((d, i) => d * normalised[i]!))
            const expected = upstream.map(
              (d, i) => (scale[c]! / deviation) * (d - meanOf(upstream) - normalised[i]! * alongX)
            )
            expectClose(channelOf(dx, channels, c), expected, 1e-3)
            expectClose([grads[layer.scale.name]!.dataSync()[c]!], [alongX * values.length], 1e-3)
            expectClose([grads[layer.shift.name]!.dataSync()[c]!], [meanOf(upstream) * values.length], 1e-4)
          }
          tf.dispose(grads)
        }),
        { numRuns: 30 }
      )
    }))

  it("computes the batch's statistics as exactly as a sum of doubles, rounded", () =>
    withSession((session) => {
      const { tf } = session
      const shape: Shape4 = [32, 16, 16, 2]
      const x = normals(7, shape, 1, 0.5)
      const layer = layerOf(session, 2, 8)
      layer.runningMean.assign(tf.zeros([2]))
      layer.runningVariance.assign(tf.zeros([2]))
      batchNormTrain(tf, tf.tensor4d(x, [...shape]), layer)
      for (const c of [0, 1]) {
        const values = channelOf(x, 2, c)
        const mean = meanOf(values)
        const unbiased = (meanOf(values.map((v) => (v - mean) ** 2)) * values.length) / (values.length - 1)
        expect(Math.abs(layer.runningMean.dataSync()[c]! * 10 - mean)).toBeLessThan(1e-7)
        expect(Math.abs(layer.runningVariance.dataSync()[c]! * 10 - unbiased)).toBeLessThan(3e-7)
      }
    }))

  it("in evaluation normalises by the running statistics and leaves them", () =>
    withSession((session) => {
      const { tf } = session
      fc.assert(
        fc.property(normed, ({ shape, seed, shift }) => {
          const channels = shape[3]
          const x = normals(seed, shape, 1.5, shift)
          const layer = layerOf(session, channels, seed + 10)
          const [mean, variance] = [layer.runningMean.dataSync(), layer.runningVariance.dataSync()]
          const [scale, offset] = [layer.scale.dataSync(), layer.shift.dataSync()]
          const y = valuesOf(tf, () => batchNormEvaluate(tf, tf.tensor4d(x, shape), layer))
          const expected = Array.from(x, (value, at) => {
            const c = at % channels
            return ((value - mean[c]!) / Math.sqrt(variance[c]! + 1e-5)) * scale[c]! + offset[c]!
          })
          expectClose(y, expected, 1e-4)
          expect(layer.runningMean.dataSync()).toEqual(mean)
          expect(layer.runningVariance.dataSync()).toEqual(variance)
        }),
        { numRuns: 30 }
      )
    }))
})

describe("a session", () => {
  it("frees its variables when its scope closes, and one that another takes the place of", () =>
    run(
      Effect.gen(function* () {
        const { tf } = yield* Session
        const before = tf.memory().numTensors
        yield* Effect.promise(() =>
          withSession(({ variable, free }) => {
            for (const value of [1, 2, 3]) variable("net/w", () => tf.scalar(value))
            variable("other", () => tf.scalar(0))
            expect(tf.memory().numTensors).toBe(before + 2)
            free("net/")
            expect(tf.memory().numTensors).toBe(before + 1)
          })
        )
        expect(tf.memory().numTensors).toBe(before)
      })
    ))

  it("reads values and leaves no tensor behind, even of a failed read", () =>
    run(
      Effect.map(Session, ({ tf }) => {
        const before = tf.memory().numTensors
        expect([...valuesOf(tf, () => tf.add(tf.tensor1d([1, 2]), 1))]).toEqual([2, 3])
        expect(() =>
          valuesOf(tf, () => {
            tf.tensor1d([1])
            throw new Error("refused")
          })
        ).toThrow("refused")
        expect(tf.memory().numTensors).toBe(before)
      })
    ))
})
