/** GeM pooling against a plain computation. */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { Effect } from "effect"
import fc from "fast-check"
import { expect, it } from "vitest"
import { random } from "#data/random.ts"
import { Session } from "#engine/session.ts"
import { gemPool } from "#model/layers.ts"
import { expectWithin } from "../golden-values.ts"
import { run } from "../stages/run-stage.ts"

/** mean(max(x, 1e-6)^p)^(1/p) of one channel, and its derivatives by each x and by p. */
const gem = (x: ReadonlyArray<number>, p: number) => {
  const clamped = x.map((value) => Math.max(value, 1e-6))
  const mean = clamped.reduce((sum, value) => sum + value ** p, 0) / x.length
  const y = mean ** (1 / p)
  const logs = clamped.reduce((sum, value) => sum + value ** p * Math.log(value), 0) / x.length
  return {
    y,
    byX: x.map((value, i) => (value < 1e-6 ? 0 : ((y / mean) * clamped[i]! ** (p - 1)) / x.length)),
    byP: y * (logs / (p * mean) - Math.log(mean) / p ** 2)
  }
}

it("GeM: value and gradients of the map and of the exponent", () =>
  run(
    Effect.map(Session, ({ tf, variable }) =>
      fc.assert(
        fc.property(
          fc.record({
            n: fc.integer({ min: 1, max: 3 }),
            places: fc.integer({ min: 1, max: 12 }),
            channels: fc.integer({ min: 1, max: 5 }),
            p: fc.double({ min: 1, max: 6, noNaN: true }),
            seed: fc.nat(1000)
          }),
          ({ n, places, channels, p, seed }) =>
            tf.tidy(() => {
              const draw = random(seed)
              // Zeros and values below zero among them, as after a ReLU and without one.
              const x = Float32Array.from({ length: n * places * channels }, () => Math.max(-0.5, 2 * draw.normal()))
              const weights = Float32Array.from({ length: n * channels }, () => draw.normal())
              const map = variable("map", () => tf.tensor4d(x, [n, places, 1, channels]))
              const exponent = variable("p", () => tf.tensor1d([p]))
              let y: ArrayLike<number> = []
              const { grads } = tf.variableGrads(() => {
                const pooled = gemPool(tf, map as tfjs.Tensor as tfjs.Tensor4D, exponent)
                expect(pooled.shape).toEqual([n, channels])
                y = pooled.dataSync()
                return tf.sum(tf.mul(pooled, tf.tensor2d(weights, [n, channels]))) as tfjs.Scalar
              }, [map, exponent])
              let [byP, size] = [0, 0]
              for (let image = 0; image < n; image++)
                for (let c = 0; c < channels; c++) {
                  const at = Array.from({ length: places }, (_, place) => (image * places + place) * channels + c)
                  const weight = weights[image * channels + c]!
                  const expected = gem(
                    at.map((i) => x[i]!),
                    Math.fround(p)
                  )
                  const tolerance = { abs: 1e-5, rel: 1e-4 }
                  expectWithin("y", [y[image * channels + c]!], [expected.y], tolerance)
                  const dx = grads[map.name]!.dataSync()
                  expectWithin(
                    "dx",
                    at.map((i) => dx[i]!),
                    expected.byX.map((d) => d * weight),
                    tolerance
                  )
                  byP += expected.byP * weight
                  size += Math.abs(expected.byP * weight)
                }
              expectWithin("dp", grads[exponent.name]!.dataSync() as Float32Array, [byP], {
                abs: 1e-5 + 1e-4 * size,
                rel: 0
              })
            })
        ),
        { numRuns: 50 }
      )
    )
  ))
