/** The golden training cases: their networks and images by formula, their traces, and the comparison with a trace. */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { Schema } from "effect"
import type { SessionShape } from "#engine/session.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"
import type { ModelConfig } from "#model/config.ts"
import { type HostTensor, makeNetwork, type Network } from "#model/network.ts"
import {
  expectWithin,
  FormulaTensor,
  formulaNumber,
  formulaTensor,
  type GoldenCase,
  goldenCase
} from "../golden-values.ts"

const Four = Schema.Array(Schema.Int)

const Params = Schema.Struct({
  widths: Four,
  blocks: Four,
  classes: Schema.Int,
  H: Schema.Int,
  W: Schema.Int,
  steps: Schema.Int,
  salt_data: Schema.Int,
  salt_student1: Schema.Int,
  salt_student2: Schema.Int,
  k_pattern: Schema.Int,
  k_noise: Schema.Int,
  lr: Schema.Finite,
  weight_decay: Schema.Finite,
  betas: Schema.Tuple([Schema.Finite, Schema.Finite]),
  eps: Schema.Finite,
  labels: Schema.Array(Schema.Array(Schema.Int)),
  alpha: Schema.Array(Schema.Finite)
})

const Summary = Schema.Struct({ sum: Schema.Finite, abs_sum: Schema.Finite, first: Schema.Array(Schema.Finite) })
const ByName = <S extends Schema.Top>(value: S) => Schema.Record(Schema.String, value)

const Trace = Schema.Array(
  Schema.Struct({
    losses: ByName(Schema.Finite),
    pooled_first8: ByName(Schema.Array(Schema.Finite)),
    grads: ByName(ByName(Summary)),
    after: ByName(ByName(Schema.Union([Schema.Int, Summary])))
  })
)

const Tolerances = Schema.Array(
  Schema.Struct({
    loss: Schema.Struct({ abs: Schema.Finite, rel: Schema.Finite }),
    sum: Schema.Struct({ rel_to_abs_sum: Schema.Finite }),
    abs_sum: Schema.Struct({ rel_to_abs_sum: Schema.Finite }),
    first: Schema.Struct({ abs: Schema.Finite }),
    grads: Schema.Struct({ rel_to_abs_sum: Schema.Finite })
  })
)

const ParamList = Schema.Struct({ tensors: Schema.Array(FormulaTensor) })

/** What the networks are called here, by the traces' names. */
export const networkNames = {
  student1: "student-1",
  student2: "student-2",
  teacher1: "teacher-1",
  teacher2: "teacher-2"
} as const
export type TraceName = keyof typeof networkNames

/** A loss term's name here, by the traces' name. */
const termName = (name: string) => name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())

/** Pixels [batch, H, W, 3] and labels of one view of one step. */
export interface GoldenView {
  readonly pixels: Float32Array
  readonly labels: Int32Array
}

export class GoldenTraining {
  readonly golden: GoldenCase<typeof Params.Type>
  readonly steps: ReadonlyArray<(typeof Trace.Type)[number]>
  readonly model: ModelConfig
  private readonly tensors: ReadonlyArray<typeof FormulaTensor.Type>
  private readonly tolerances: typeof Tolerances.Type

  /** Of the state after the last step. */
  get lastTolerance() {
    return this.tolerances.at(-1)!
  }

  constructor(id: string) {
    this.golden = goldenCase(id, Params)
    this.steps = Schema.decodeUnknownSync(Trace)(this.golden.json("trace_f64"))
    this.tolerances = Schema.decodeUnknownSync(Tolerances)(this.golden.tolerances.per_step)
    this.tensors = Schema.decodeUnknownSync(ParamList)(this.golden.json("param_list")).tensors
    const [channels, , kernel] = this.tensors.find(({ name }) => name === "backbone.conv1.weight")!.shape
    const { widths, blocks } = this.golden.params
    this.model = {
      backbone: {
        stem: { kernel: kernel!, stride: 2, channels: channels!, maxPool: true },
        widths,
        blocks,
        strides: [1, 2, 2, 1]
      }
    }
  }

  /** All four networks before the first step: a teacher is a copy of its student. */
  declareNetworks(session: SessionShape): Readonly<Record<TraceName, Network>> {
    const { params } = this.golden
    const centroid = this.golden.input("centroid", Float32Array)
    const make = (name: TraceName, salt: number) => {
      const tensors = new Map<string, HostTensor>(
        this.tensors.map((spec) => {
          const values = formulaTensor(salt, spec)
          const count = spec.name.endsWith("num_batches_tracked")
          return [spec.name, { shape: spec.shape, values: count ? Float64Array.from(values) : values }]
        })
      )
      tensors.set("classifier.weight", centroid)
      return makeNetwork(session, networkNames[name], this.model, tensors)
    }
    return {
      student1: make("student1", params.salt_student1),
      student2: make("student2", params.salt_student2),
      teacher1: make("teacher1", params.salt_student1),
      teacher2: make("teacher2", params.salt_student2)
    }
  }

  /** One image, flat CHW as the formula counts. */
  image(step: number, view: number, sample: number): Float32Array {
    const { salt_data, k_pattern, k_noise, H, W, labels } = this.golden.params
    const pattern = k_pattern + labels[step]![sample]!
    const noise = k_noise + (step * 2 + view) * labels[step]!.length + sample
    return Float32Array.from(
      { length: 3 * H * W },
      (_, i) => formulaNumber(salt_data, pattern, i) + formulaNumber(salt_data, noise, i)
    )
  }

  view(step: number, view: number): GoldenView {
    const { H, W, labels } = this.golden.params
    const batch = labels[step]!
    const plane = H * W
    const pixels = new Float32Array(batch.length * plane * 3)
    for (const sample of batch.keys()) {
      const image = this.image(step, view, sample)
      for (let place = 0; place < plane; place++)
        for (let channel = 0; channel < 3; channel++)
          pixels[(sample * plane + place) * 3 + channel] = image[channel * plane + place]!
    }
    return { pixels, labels: Int32Array.from(batch) }
  }

  /** Pixels of both views, one after the other. */
  pixels(step: number): Float32Array {
    const [first, second] = [this.view(step, 0).pixels, this.view(step, 1).pixels]
    const both = new Float32Array(first.length * 2)
    both.set(first)
    both.set(second, first.length)
    return both
  }

  views(tf: TensorFlow, step: number): { views: Array<tfjs.Tensor4D>; labels: tfjs.Tensor1D } {
    const { H, W } = this.golden.params
    const both = [this.view(step, 0), this.view(step, 1)]
    return {
      views: both.map(({ pixels, labels }) => tf.tensor4d(pixels, [labels.length, H, W, 3])),
      labels: tf.tensor1d(both[0]!.labels, "int32")
    }
  }

  checkLosses(step: number, losses: ReadonlyMap<string, number>): void {
    for (const [name, expected] of Object.entries(this.steps[step]!.losses))
      expectWithin(
        `${this.golden.id} step ${step} ${name}`,
        [losses.get(termName(name)) ?? Number.NaN],
        [expected],
        this.tolerances[step]!.loss
      )
  }

  checkPooled(step: number, network: TraceName, feature: ArrayLike<number>): void {
    const expected = this.steps[step]!.pooled_first8[network]!
    const found = Array.from(feature).slice(0, expected.length)
    // The set has no tolerance of the pooled values' own.
    const { first, loss } = this.tolerances[step]!
    const tolerance = { abs: first.abs, rel: loss.rel }
    expectWithin(`${this.golden.id} step ${step} ${network} pooled`, found, expected, tolerance)
  }

  /** Gradients by parameter, in PyTorch's layout. */
  checkGradients(step: number, network: TraceName, gradient: (name: string) => HostTensor): void {
    const { rel_to_abs_sum } = this.tolerances[step]!.grads
    for (const [name, expected] of Object.entries(this.steps[step]!.grads[network]!)) {
      const tolerance = { abs: rel_to_abs_sum * expected.abs_sum, rel: 0 }
      const place = `${this.golden.id} step ${step} ${network} gradient of ${name}`
      this.checkSummary(place, gradient(name).values, expected, tolerance, tolerance, tolerance)
    }
  }

  /** The recorded tensors of a network after the step, running statistics among them. */
  checkAfter(step: number, network: TraceName, tensors: ReadonlyMap<string, HostTensor>): void {
    const { sum, abs_sum, first } = this.tolerances[step]!
    for (const [name, expected] of Object.entries(this.steps[step]!.after[network]!)) {
      const place = `${this.golden.id} step ${step} ${network} ${name}`
      const { values } = tensors.get(name)!
      if (typeof expected === "number") expectWithin(place, values, [expected], "exact")
      else
        this.checkSummary(
          place,
          values,
          expected,
          { abs: sum.rel_to_abs_sum * expected.abs_sum, rel: 0 },
          { abs: abs_sum.rel_to_abs_sum * expected.abs_sum, rel: 0 },
          { abs: first.abs, rel: 0 }
        )
    }
  }

  private checkSummary(
    place: string,
    values: ArrayLike<number>,
    expected: typeof Summary.Type,
    sum: { abs: number; rel: number },
    absSum: { abs: number; rel: number },
    first: { abs: number; rel: number }
  ): void {
    let total = 0
    let absolute = 0
    for (let i = 0; i < values.length; i++) {
      total += values[i]!
      absolute += Math.abs(values[i]!)
    }
    expectWithin(`${place} sum`, [total], [expected.sum], sum)
    expectWithin(`${place} abs_sum`, [absolute], [expected.abs_sum], absSum)
    const start = Array.from({ length: expected.first.length }, (_, i) => values[i]!)
    expectWithin(`${place} first`, start, expected.first, first)
  }
}
