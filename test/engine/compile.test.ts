/** Compiled steps: what they compute, what they share, and what cannot be compiled. */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { Effect, type Scope } from "effect"
import { describe, expect, it } from "vitest"
import { compile, release, type StepSpec } from "#engine/compile.ts"
import { Session, type SessionShape } from "#engine/session.ts"
import { after } from "#engine/trace.ts"
import { run } from "../stages/run-stage.ts"

const three = { x: { shape: [3], dtype: "float32" } } as const

const withSession = <A, E>(body: (session: SessionShape) => Effect.Effect<A, E, Scope.Scope>) =>
  run(Effect.flatMap(Session, (session) => Effect.scoped(body(session))))

/** Adds x to a total, and gives the total times a number. */
const adding = (tf: SessionShape["tf"], total: tfjs.Variable): Record<"add" | "scaled", StepSpec> => ({
  add: {
    inputs: three,
    step: ({ x }) => {
      total.assign(tf.add(total, x!))
      return { before: tf.mul(x!, 1) }
    }
  },
  scaled: { inputs: { by: { shape: [], dtype: "float32" } }, step: ({ by }) => ({ total: tf.mul(total, by!) }) }
})

describe("compile", () => {
  it("gives steps that share the variables of one session, apart from tfjs's own", () =>
    withSession(({ tf, variable }) =>
      Effect.gen(function* () {
        const total = variable("total", () => tf.tensor1d([1, 2, 3]))
        const program = yield* compile(tf, [total], adding(tf, total))
        program.load([total])
        program.run("add", { x: Float32Array.of(1, 1, 1) })
        program.run("add", { x: Float32Array.of(0, 1, 2) })
        expect(program.run("scaled", { by: Float32Array.of(10) }).total).toEqual(Float32Array.of(20, 40, 60))
        expect([...total.dataSync()]).toEqual([1, 2, 3])
        program.store([total])
        expect([...total.dataSync()]).toEqual([2, 4, 6])
      })
    ))

  it("runs a step beside JavaScript, to the same values", () =>
    withSession(({ tf, variable }) =>
      Effect.gen(function* () {
        const total = variable("total", () => tf.tensor1d([1, 2, 3]))
        const program = yield* compile(tf, [total], adding(tf, total))
        program.load([total])
        const beside = program.runBeside("add", { x: Float32Array.of(1, 1, 1) })
        let meanwhile = false
        setImmediate(() => {
          meanwhile = true
        })
        expect(yield* Effect.promise(() => beside)).toEqual({ before: Float32Array.of(1, 1, 1) })
        expect(meanwhile).toBe(true)
        expect(program.run("scaled", { by: Float32Array.of(10) }).total).toEqual(Float32Array.of(20, 30, 40))
      })
    ))

  it("refuses inputs of another size, and a program that is freed", () =>
    withSession(({ tf, variable }) =>
      Effect.gen(function* () {
        const total = variable("total", () => tf.tensor1d([1, 2, 3]))
        const program = yield* Effect.scoped(
          Effect.gen(function* () {
            const held = yield* compile(tf, [total], adding(tf, total))
            held.load([total])
            const short = { x: Float32Array.of(1, 1) }
            const problem = "input 0 has 2 values, its shape 3"
            expect(() => held.run("add", short)).toThrow(problem)
            yield* Effect.promise(() => expect(held.runBeside("add", short)).rejects.toThrow(problem))
            return held
          })
        )
        expect(() => program.run("add", { x: Float32Array.of(1, 1, 1) })).toThrow("the program is freed")
      })
    ))

  it("takes and gives variables of more bytes than go in at a time", () =>
    withSession(({ tf, variable }) =>
      Effect.gen(function* () {
        const large = Array.from({ length: 5 }, (_, i) => variable(`w${i}`, () => tf.fill([3_000_000], i + 1)))
        const program = yield* compile(tf, large, {
          sum: { inputs: {}, step: () => ({ sum: tf.sum(tf.stack(large.map((w) => tf.mean(w)))) }) }
        })
        program.load(large)
        release(tf, large)
        expect(program.run("sum", {}).sum).toEqual(Float32Array.of(15))
        program.store(large)
        expect(large.map((w) => w.dataSync()[2_999_999])).toEqual([1, 2, 3, 4, 5])
      })
    ))

  it("frees a released variable's values until they are stored again", () =>
    withSession(({ tf, variable }) =>
      Effect.gen(function* () {
        const total = variable("total", () => tf.tensor1d([1, 2, 3]))
        const program = yield* compile(tf, [total], adding(tf, total))
        program.load([total])
        release(tf, [total])
        expect(() => total.dataSync()).toThrow()
        program.run("add", { x: Float32Array.of(1, 1, 1) })
        program.store([total])
        expect([...total.dataSync()]).toEqual([2, 3, 4])
      })
    ))

  it("leaves no tensor behind and no value changed, and writes a repeated part down at every use", () =>
    withSession(({ tf, variable }) =>
      Effect.gen(function* () {
        const w = variable("w", () => tf.ones([3, 3]))
        const { numTensors } = tf.memory()
        const step = ({ x }: Readonly<Record<string, tfjs.Tensor>>) => {
          let y = tf.reshape(x!, [1, 3])
          for (let i = 0; i < 5; i++) y = tf.matMul(tf.add(y, i), w as tfjs.Tensor2D)
          return { y }
        }
        const program = yield* compile(tf, [w], { step: { inputs: three, step } })
        expect(tf.memory().numTensors).toBe(numTensors)
        program.load([w])
        const x = Float32Array.of(1, 2, 3)
        const expected = tf.tidy(() => step({ x: tf.tensor1d(x) }).y.dataSync())
        expect(program.run("step", { x }).y).toEqual(expected)
        expect([...w.dataSync()]).toEqual(Array(9).fill(1))
      })
    ))

  it("traces convolutions and their gradients to the shapes that they have", () =>
    withSession(({ tf }) =>
      Effect.gen(function* () {
        const convolutions = [3, 7, 12].flatMap((size) =>
          [1, 2, 3].flatMap((kernel) =>
            (["valid", "same"] as const).flatMap((padding) => [
              ...[1, 2, 3].map((stride) => ({ size, kernel, padding, stride, dilation: 1 })),
              { size, kernel, padding, stride: 1, dilation: size > 3 ? 2 : 1 }
            ])
          )
        )
        const shapes = () =>
          convolutions.map(({ size, kernel, padding, stride, dilation }) => {
            const x = tf.ones<tfjs.Rank.R4>([2, size, size + 1, 4])
            const w = tf.ones<tfjs.Rank.R4>([kernel, kernel, 4, 5])
            const convolved = (x: tfjs.Tensor4D, w: tfjs.Tensor4D) => tf.conv2d(x, w, stride, padding, "NHWC", dilation)
            // tfjs has gradients of convolutions without dilation alone.
            const gradients =
              dilation > 1 ? [] : tf.grads((x, w) => convolved(x as tfjs.Tensor4D, w as tfjs.Tensor4D))([x, w])
            return [convolved(x, w), ...gradients].map(({ shape }) => shape)
          })
        let traced: ReturnType<typeof shapes> = []
        yield* compile(tf, [], {
          step: {
            inputs: three,
            step: ({ x }) => {
              traced = shapes()
              return { y: tf.mul(x!, 1) }
            }
          }
        })
        expect(traced).toEqual(tf.tidy(() => shapes() as unknown as tfjs.TensorContainer))
        expect(traced).toHaveLength(72)
      })
    ))

  it("takes an order of parts that do not depend on each other", () =>
    withSession(({ tf }) =>
      Effect.gen(function* () {
        const step = ({ x }: Readonly<Record<string, tfjs.Tensor>>) => {
          const [first, second] = tf.split(tf.mul(x!, 2), [1, 2]) as [tfjs.Tensor, tfjs.Tensor]
          return { sum: tf.sum(tf.square(after(tf, x!, second))), first }
        }
        const program = yield* compile(tf, [], { step: { inputs: three, step } })
        const x = Float32Array.of(1, 2, 3)
        expect(program.run("step", { x })).toEqual({ sum: Float32Array.of(14), first: Float32Array.of(2) })
        expect(tf.tidy(() => step({ x: tf.tensor1d(x) }).sum.dataSync())).toEqual(Float32Array.of(14))
      })
    ))

  it.each([
    [
      "reads a value",
      (tf: SessionShape["tf"], x: tfjs.Tensor) => tf.add(x, tf.square(x).dataSync()[0]!),
      { op: "Square" },
      'step "step" cannot be compiled: the step reads the value of a tensor made by Square; give what depends on it as an input instead'
    ],
    [
      "draws random numbers",
      (tf: SessionShape["tf"], x: tfjs.Tensor) => tf.dropout(x, 0.5),
      {},
      'step "step" cannot be compiled: the step draws random numbers while it is traced, so that every run would get the same; give them, or a seed, as an input'
    ]
  ])("refuses a step that %s", (_, compute, found, message) =>
    withSession(({ tf }) =>
      Effect.gen(function* () {
        const step = ({ x }: Readonly<Record<string, tfjs.Tensor>>) => ({ y: compute(tf, x!) })
        const error = yield* Effect.flip(compile(tf, [], { step: { inputs: three, step } }))
        expect(error).toMatchObject({ _tag: "NotCompilable", step: "step", ...found })
        expect(error.message).toBe(message)
        expect(Math.random()).toBeLessThan(1)
        expect(tf.tidy(() => tf.square(tf.tensor1d([2])).dataSync()[0])).toBe(4)
      })
    )
  )
})
