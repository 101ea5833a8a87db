/** Convolutions and their gradients, by TensorFlow's ops and by the CPU's own, against a plain computation in double precision. */
import { spawnSync } from "node:child_process"
import { join } from "node:path"
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { Effect } from "effect"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { random } from "#data/random.ts"
import { compile } from "#engine/compile.ts"
import {
  biasedConv2d,
  type Convolve,
  type ConvolveBiased,
  composedBiasedConv2d,
  composedConv2d,
  conv2d,
  ownBiasedConv2d,
  ownConv2d
} from "#engine/convolution.ts"
import { runOp } from "#engine/op.ts"
import { Session, type SessionShape } from "#engine/session.ts"
import { run } from "../stages/run-stage.ts"

type Images = tfjs.Tensor4D

interface Geometry {
  readonly images: number
  readonly height: number
  readonly width: number
  readonly input: number
  readonly output: number
  readonly kernel: readonly [height: number, width: number]
  readonly stride: number
  readonly padding: number
}

const withSession = (body: (session: SessionShape) => void) =>
  run(Effect.map(Session, (session) => session.tf.tidy(() => body(session))))

const normals = (seed: number, size: number) => {
  const draw = random(seed)
  return Float32Array.from({ length: size }, () => draw.normal())
}

/** What a module prints, with the instructions that the kernels may use at most. */
const outputOf = (code: string, instructions: string) => {
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", code], {
    cwd: join(import.meta.dirname, "..", ".."),
    env: { ...process.env, MMT_MAX_CPU_ISA: instructions },
    encoding: "utf8"
  })
  expect(stderr).toBe("")
  return stdout.trim()
}

const placesOf = ({ height, width, kernel, stride, padding }: Geometry) =>
  [height - kernel[0], width - kernel[1]].map((room) => Math.floor((room + 2 * padding) / stride) + 1) as [
    number,
    number
  ]

const drawn = (geometry: Geometry, seed: number) => {
  const { images, height, width, input, output, kernel } = geometry
  const [down, along] = placesOf(geometry)
  return {
    x: normals(seed, images * height * width * input),
    weight: normals(seed + 1, kernel[0] * kernel[1] * input * output),
    dy: normals(seed + 2, images * down * along * output),
    bias: normals(seed + 3, output)
  }
}

/** y, and the gradients of Σ y · dy. */
const reference = (geometry: Geometry, { x, weight, dy }: ReturnType<typeof drawn>) => {
  const { images, height, width, input, output, kernel, stride, padding } = geometry
  const [down, along] = placesOf(geometry)
  const out = {
    y: new Float64Array(dy.length),
    dx: new Float64Array(x.length),
    dWeight: new Float64Array(weight.length)
  }
  for (let place = 0; place < images * down * along; place++)
    for (let tap = 0; tap < kernel[0] * kernel[1]; tap++) {
      const image = Math.floor(place / (down * along))
      const row = (Math.floor(place / along) % down) * stride + Math.floor(tap / kernel[1]) - padding
      const column = (place % along) * stride + (tap % kernel[1]) - padding
      if (row < 0 || row >= height || column < 0 || column >= width) continue
      const pixel = (image * height + row) * width + column
      for (let i = 0; i < input; i++)
        for (let o = 0; o < output; o++) {
          const w = (tap * input + i) * output + o
          out.y[place * output + o]! += x[pixel * input + i]! * weight[w]!
          out.dx[pixel * input + i]! += dy[place * output + o]! * weight[w]!
          out.dWeight[w]! += dy[place * output + o]! * x[pixel * input + i]!
        }
    }
  return out
}

/** Holds to 1e-5 of the largest value: float32 sums of a few thousand products. */
const expectClose = (found: ArrayLike<number>, expected: ArrayLike<number>) => {
  expect(found.length).toBe(expected.length)
  const largest = Array.from(expected).reduce((most, value) => Math.max(most, Math.abs(value)), 1)
  for (let i = 0; i < expected.length; i++)
    if (!(Math.abs(found[i]! - expected[i]!) <= 1e-5 * largest))
      expect.fail(`[${i}]: found ${found[i]}, expected ${expected[i]}`)
}

const tensorsOf = ({ tf }: SessionShape, geometry: Geometry, given: ReturnType<typeof drawn>) => {
  const { images, height, width, input, output, kernel } = geometry
  return {
    x: tf.tensor4d(given.x, [images, height, width, input]),
    weight: tf.tensor4d(given.weight, [...kernel, input, output]),
    dy: tf.tensor4d(given.dy, [images, ...placesOf(geometry), output]),
    bias: tf.tensor1d(given.bias)
  }
}

const expectRight = (session: SessionShape, convolve: Convolve, geometry: Geometry, seed: number) => {
  const { tf } = session
  const given = drawn(geometry, seed)
  const expected = reference(geometry, given)
  tf.tidy(() => {
    const { x, weight, dy } = tensorsOf(session, geometry, given)
    const of = (x: tfjs.Tensor, weight: tfjs.Tensor) =>
      convolve(tf, x as Images, weight as Images, geometry.stride, geometry.padding)
    const y = of(x, weight)
    expect(y.shape).toEqual(dy.shape)
    expectClose(y.dataSync(), expected.y)
    const [dx, dWeight] = tf.grads(of)([x, weight], dy)
    expect(dx!.shape).toEqual(x.shape)
    expect(dWeight!.shape).toEqual(weight.shape)
    expectClose(dx!.dataSync(), expected.dx)
    expectClose(dWeight!.dataSync(), expected.dWeight)
  })
}

const geometries = fc
  .record({
    images: fc.integer({ min: 1, max: 3 }),
    height: fc.integer({ min: 1, max: 9 }),
    width: fc.integer({ min: 1, max: 9 }),
    input: fc.integer({ min: 1, max: 7 }),
    output: fc.integer({ min: 1, max: 40 }),
    kernel: fc.tuple(fc.constantFrom(1, 2, 3, 5, 7), fc.constantFrom(1, 3)),
    stride: fc.integer({ min: 1, max: 3 }),
    padding: fc.integer({ min: 0, max: 3 })
  })
  .filter(({ height, width, kernel, padding }) => height + 2 * padding >= kernel[0] && width + 2 * padding >= kernel[1])

const square = (
  [images, height, width, input]: readonly [number, number, number, number],
  output: number,
  size: number,
  stride = 1,
  padding = (size - 1) / 2
): Geometry => ({ images, height, width, input, output, kernel: [size, size], stride, padding })

/** Where the loops of the CPU's own ops take another way: many places, channels, rows of a window and panels. */
const large: ReadonlyArray<readonly [string, Geometry]> = [
  ["bands of an image's rows", square([1, 40, 20, 3], 16, 3)],
  ["strided rows of a wide image", square([2, 9, 150, 2], 5, 3, 2)],
  ["several images at once", square([9, 8, 4, 6], 16, 3)],
  ["windows in parts", square([2, 3, 3, 300], 17, 3)],
  ["parts that are brought together", square([2, 5, 4, 600], 20, 1)],
  ["strided parts that are brought together", square([1, 6, 5, 300], 16, 1, 2)],
  ["many panels", square([3, 4, 4, 10], 150, 3)],
  ["a stem of 7 × 7", square([2, 32, 16, 3], 64, 7, 2)],
  ["patches", square([2, 6, 4, 32], 32, 3)],
  ["patches that end beside the image", square([3, 5, 7, 48], 32, 3)],
  ["patches without a border", square([2, 5, 6, 32], 48, 3, 1, 0)],
  ["patches in a wide border", square([2, 4, 3, 32], 64, 3, 1, 3)],
  ["patches in blocks", square([5, 16, 13, 32], 32, 3)],
  ["patches of one pixel", square([2, 1, 1, 64], 32, 3)]
]

describe.each<[string, Convolve]>([
  ["TensorFlow's ops", composedConv2d],
  ["the CPU's own ops", ownConv2d]
])("a convolution by %s", (_, convolve) => {
  it("pads, strides and sums as PyTorch's Conv2d, and has its gradients", () =>
    withSession((session) =>
      fc.assert(
        fc.property(geometries, fc.nat(1000), (geometry, seed) => expectRight(session, convolve, geometry, seed)),
        { numRuns: 60 }
      )
    ))

  it.each(large)("does so with %s", (_, geometry) =>
    withSession((session) => expectRight(session, convolve, geometry, 3))
  )
})

describe.each<[string, ConvolveBiased]>([
  ["TensorFlow's ops", composedBiasedConv2d],
  ["the CPU's own op", ownBiasedConv2d]
])("a convolution with what follows it by %s", (_, convolve) => {
  const follow = (session: SessionShape, geometry: Geometry, seed: number, residual: boolean, relu: boolean) => {
    const { tf } = session
    const given = drawn(geometry, seed)
    const { y } = reference(geometry, given)
    const expected = y.map((value, i) => {
      const sum = value + given.bias[i % geometry.output]! + (residual ? given.dy[i]! : 0)
      return relu ? Math.max(sum, 0) : sum
    })
    tf.tidy(() => {
      const { x, weight, dy, bias } = tensorsOf(session, geometry, given)
      const after = { relu, ...(residual ? { residual: dy } : {}) }
      expectClose(convolve(tf, x, weight, geometry.stride, geometry.padding, bias, after).dataSync(), expected)
    })
  }

  it("adds the bias and the residual and rectifies", () =>
    withSession((session) =>
      fc.assert(
        fc.property(geometries, fc.nat(1000), fc.boolean(), fc.boolean(), (geometry, seed, residual, relu) =>
          follow(session, geometry, seed, residual, relu)
        ),
        { numRuns: 40 }
      )
    ))

  it.each(large)("does so with %s", (_, geometry) => withSession((session) => follow(session, geometry, 4, true, true)))

  it("passes on what is no number", () =>
    withSession(({ tf }) => {
      const x = tf.tensor4d([Number.NaN, 1], [1, 1, 2, 1])
      const y = convolve(tf, x, tf.ones([1, 1, 1, 20]), 1, 0, tf.zeros([20]), { relu: true })
      expect([...y.dataSync()]).toEqual([...Array(20).fill(Number.NaN), ...Array(20).fill(1)])
    }))
})

describe("the choice between them", () => {
  it("is made for a convolution and for one with what follows it, and changes no more than rounding", () =>
    withSession((session) => {
      const { tf } = session
      const geometry = square([2, 6, 5, 4], 8, 3)
      expectRight(session, conv2d, geometry, 5)
      const { x, weight, bias } = tensorsOf(session, geometry, drawn(geometry, 5))
      const found = [biasedConv2d, composedBiasedConv2d].map((by) => by(tf, x, weight, 1, 1, bias, {}).dataSync())
      expectClose(found[0]!, found[1]!)
    }))
})

describe("the CPU's own ops", () => {
  it("are traced to the shapes that they have", () =>
    run(
      Effect.gen(function* () {
        const { tf } = yield* Session
        const shapes = () =>
          [1, 2, 3].flatMap((size) =>
            [1, 2, 3].map((stride) => {
              const [x, weight] = [tf.ones([2, 7, 8, 4]), tf.ones([size, size, 4, 5])]
              const of = (x: tfjs.Tensor, weight: tfjs.Tensor) =>
                ownConv2d(tf, x as Images, weight as Images, stride, size - 1)
              return [of(x, weight), ...tf.grads(of)([x, weight])].map(({ shape }) => shape)
            })
          )
        let traced: ReturnType<typeof shapes> = []
        const step = ({ x }: Readonly<Record<string, tfjs.Tensor>>) => {
          traced = shapes()
          return { y: tf.mul(x!, 1) }
        }
        yield* compile(tf, [], { step: { inputs: { x: { shape: [3], dtype: "float32" } }, step } })
        expect(traced).toEqual(tf.tidy(() => shapes() as unknown as tfjs.TensorContainer))
        expect(traced).toHaveLength(9)
      }).pipe(Effect.scoped)
    ))

  it.each<[string, ReadonlyArray<readonly [threads: number, instructions: string]>]>([
    [
      "by one thread and by several",
      [
        [1, "avx512"],
        [2, "avx512"],
        [5, "avx512"]
      ]
    ],
    [
      "by AVX2 as by AVX-512, where the CPU has that",
      [
        [2, "avx2"],
        [2, "avx512"]
      ]
    ]
  ])("give the same bytes %s", (_, settings) => {
    const digests = settings.map(([threads, instructions]) => {
      const code = `
        import { createHash } from "node:crypto"
        import { Effect } from "effect"
        import { ownConv2d } from "#engine/convolution.ts"
        import { loadTensorFlow } from "#engine/tensorflow.ts"
        const tf = Effect.runSync(loadTensorFlow({ intraOpThreads: ${threads}, interOpThreads: 1 }))
        const hash = createHash("sha256")
        for (const [input, output, stride] of [[40, 70, 2], [48, 64, 1], [64, 96, 1], [3, 16, 1]]) {
          const of = (x, weight) => ownConv2d(tf, x, weight, stride, 1)
          const shapes = [[9, 17, 8, input], [3, 3, input, output]]
          const given = shapes.map((shape, i) => tf.randomNormal(shape, 0, 1, "float32", i + 1))
          const y = of(...given)
          for (const tensor of [y, ...tf.grads(of)(given, y)]) hash.update(tensor.dataSync())
        }
        console.log(hash.digest("hex"))`
      return outputOf(code, instructions)
    })
    expect(digests[0]).toMatch(/^[0-9a-f]{64}$/)
    expect(new Set(digests).size).toBe(1)
  })

  it.each(["plain", "avx2", "avx512"])("agree with TensorFlow's by %s instructions", (instructions) => {
    const code = `
      import { Effect } from "effect"
      import { composedConv2d, ownConv2d } from "#engine/convolution.ts"
      import { loadTensorFlow } from "#engine/tensorflow.ts"
      const tf = Effect.runSync(loadTensorFlow())
      const apart = (input, output, size) => {
        const shapes = [[2, 9, 8, input], [size, size, input, output]]
        const given = shapes.map((shape, i) => tf.randomNormal(shape, 0, 1, "float32", i + 1))
        const [own, composed] = [ownConv2d, composedConv2d].map((by) => {
          const of = (x, weight) => by(tf, x, weight, 1, (size - 1) / 2)
          return [of(...given), ...tf.grads(of)(given)]
        })
        return Math.max(...own.map((one, i) => tf.max(tf.abs(tf.sub(one, composed[i]))).dataSync()[0]))
      }
      console.log(apart(64, 32, 3), apart(48, 16, 3), apart(5, 70, 1))`
    const apart = outputOf(code, instructions).split(" ").map(Number)
    expect(apart).toHaveLength(3)
    // Sums of up to 576 products of normal numbers.
    for (const value of apart) expect(value).toBeLessThan(2e-4)
  })

  const geometry = { stride: { int: 1 }, padding: { int: 0 } }
  const unrectified = { ...geometry, relu: { bool: false } }
  const sized = { ...geometry, height: { int: 2 }, width: { int: 2 } }
  it.each<[string, string, Parameters<typeof runOp>[2], ReadonlyArray<ReadonlyArray<number>>]>([
    ["a kernel for other channels", "MmtConvolution", unrectified, [[1, 2, 2, 3], [1, 1, 2, 4], [0], [0]]],
    ["a kernel that does not fit in", "MmtConvolution", unrectified, [[1, 2, 2, 3], [3, 3, 3, 4], [0], [0]]],
    ["a bias of other channels", "MmtConvolution", unrectified, [[1, 2, 2, 3], [1, 1, 3, 4], [3], [0]]],
    ["a residual of another shape", "MmtConvolution", unrectified, [[1, 2, 2, 3], [1, 1, 3, 4], [4], [1, 2, 2, 3]]],
    [
      "a gradient of another shape",
      "MmtConvolutionInputGrad",
      sized,
      [
        [1, 3, 3, 4],
        [1, 1, 3, 4]
      ]
    ],
    ["a gradient of fewer dimensions", "MmtConvolutionInputGrad", sized, [[4], [1, 1, 3, 4]]],
    [
      "a gradient of other places",
      "MmtConvolutionKernelGrad",
      sized,
      [
        [1, 2, 2, 3],
        [1, 2, 2, 4]
      ]
    ],
    ["images of fewer dimensions", "MmtConvolutionKernelGrad", sized, [[3], [1, 1, 1, 4]]]
  ])("refuse %s", (_, name, attributes, shapes) =>
    withSession(({ tf }) => {
      const inputs = shapes.map((shape) => tf.ones([...shape]))
      expect(() => runOp(tf, name, attributes, inputs, 1)).toThrow(/expected (an? |images )/)
    })
  )
})
