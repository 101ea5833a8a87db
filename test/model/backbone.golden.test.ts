/** The paper's two backbones against the golden values: features, feature maps by stage, running statistics, gradients. */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { Effect, Schema } from "effect"
import { describe, expect, it } from "vitest"
import { Session, type SessionShape, valuesOf } from "#engine/session.ts"
import { type BackboneName, dimensionOf, geometryOf, type ModelConfig } from "#model/config.ts"
import { evaluationNorm, normalisedConvolutions, trainingNorm } from "#model/layers.ts"
import { type HostTensor, type Mode, makeNetwork, type Network, networkTensors } from "#model/network.ts"
import { resnetForward } from "#model/resnet.ts"
import { expectWithin, FormulaTensor, formulaNumber, formulaTensor, goldenCase } from "../golden-values.ts"
import { run } from "../stages/run-stage.ts"

const Params = Schema.Struct({
  salt: Schema.Int,
  input_shape: Schema.Tuple([Schema.Int, Schema.Int, Schema.Int, Schema.Int]),
  k_input: Schema.Int,
  k_grad: Schema.Int
})
const ParamList = Schema.Struct({ arch: Schema.String, tensors: Schema.Array(FormulaTensor) })
const Numbers = Schema.Array(Schema.Finite)
const Summary = Schema.Struct({
  sum: Schema.Finite,
  abs_sum: Schema.Finite,
  rms: Schema.Finite,
  first: Numbers,
  last: Schema.optionalKey(Numbers),
  shape: Schema.optionalKey(Schema.Array(Schema.Int)),
  tol: Schema.Struct({ sum: Schema.Finite, abs_sum: Schema.Finite, first: Schema.Finite })
})
const Summaries = Schema.Record(Schema.String, Summary)
const Checks = Schema.Struct({
  stages: Schema.Struct({ eval: Summaries, train: Summaries }),
  running_after_one_train_forward: Summaries,
  grads: Summaries
})
const Features = Schema.Record(Schema.String, Schema.Struct({ rel_to_max: Schema.Finite }))
const Loss = Schema.Struct({ abs: Schema.Finite, rel: Schema.Finite })

const names: Readonly<Record<string, BackboneName>> = { resnet50: "resnet-50", resnet50_ibn_a: "resnet-50-ibn-a" }
const modes = { eval: "evaluate", train: "train" } as const

/** One case: its weights and images by formula, and the comparison with a summary. */
class GoldenBackbone {
  readonly golden
  readonly checks: typeof Checks.Type
  readonly backbone: BackboneName
  readonly tensors: ReadonlyArray<typeof FormulaTensor.Type>
  /** By the names of a network, the head's and the classifier's after them. */
  readonly values: ReadonlyMap<string, HostTensor>

  constructor(id: string) {
    this.golden = goldenCase(id, Params)
    this.checks = Schema.decodeUnknownSync(Checks)(this.golden.json("checks"))
    const { arch, tensors } = Schema.decodeUnknownSync(ParamList)(this.golden.json("param_list"))
    this.backbone = names[arch]!
    this.tensors = tensors
    const { salt } = this.golden.params
    this.values = new Map(
      tensors.map((spec) => {
        const values = formulaTensor(salt, spec)
        const count = spec.name.endsWith("num_batches_tracked")
        return [`backbone.${spec.name}`, { shape: spec.shape, values: count ? Float64Array.from(values) : values }]
      })
    )
  }

  network(session: SessionShape, options: Omit<ModelConfig, "backbone"> = {}): Network {
    const config = { backbone: this.backbone, ...options }
    const rest = networkTensors(config, 1).filter(({ name }) => !name.startsWith("backbone."))
    const filled = rest.map(({ name, shape, kind }): [string, HostTensor] => {
      const size = shape.reduce((a, b) => a * b, 1)
      const value = kind === "exponent" ? 3 : kind === "scale" || kind === "variance" ? 1 : 0
      return [name, { shape, values: new Float32Array(size).fill(value) }]
    })
    return makeNetwork(session, "golden", config, new Map([...this.values, ...filled]))
  }

  /** [N, H, W, 3]. */
  images(session: SessionShape): tfjs.Tensor4D {
    const { salt, k_input, input_shape } = this.golden.params
    const size = input_shape.reduce((a, b) => a * b, 1)
    const flat = Float32Array.from({ length: size }, (_, i) => 2 * formulaNumber(salt, k_input, i))
    return session.tf.transpose(session.tf.tensor4d(flat, [...input_shape]), [0, 2, 3, 1])
  }

  /** Weights of the feature's values in the loss, flat. */
  lossWeights(): Float64Array {
    const { salt, k_grad, input_shape } = this.golden.params
    const size = input_shape[0] * dimensionOf({ backbone: this.backbone })
    return Float64Array.from({ length: size }, (_, i) => formulaNumber(salt, k_grad, i))
  }

  checkFeature(name: string, found: ArrayLike<number>) {
    const { rel_to_max } = Schema.decodeUnknownSync(Features)(this.golden.tolerances.features)[name]!
    const { values } = this.golden.output(name, Float64Array)
    const largest = values.reduce((a, b) => Math.max(a, Math.abs(b)), 0)
    this.golden.check(name, found, { abs: rel_to_max * largest, rel: 0 })
  }

  checkSummary(what: string, { shape, values }: HostTensor, expected: typeof Summary.Type) {
    const place = `${this.golden.id} ${what}`
    if (expected.shape) expect(shape, place).toEqual(expected.shape)
    const { abs_sum, rms, tol, first, last = [] } = expected
    let [total, absolute] = [0, 0]
    for (const value of values) {
      total += value
      absolute += Math.abs(value)
    }
    expectWithin(`${place} sum`, [total], [expected.sum], { abs: tol.sum * abs_sum, rel: 0 })
    expectWithin(`${place} abs_sum`, [absolute], [abs_sum], { abs: tol.abs_sum * abs_sum, rel: 0 })
    const element = { abs: tol.first * rms, rel: 0 }
    expectWithin(`${place} first`, values.slice(0, first.length), first, element)
    if (last.length > 0) expectWithin(`${place} last`, values.slice(-last.length), last, element)
  }
}

const backboneOf = (network: Network) =>
  new Map([...network.variables].map(([name, value]) => [name.replace(/^backbone\./, ""), value]))

/** Feature maps by stage, in PyTorch's layout. */
const stageMaps = ({ tf }: SessionShape, network: Network, images: tfjs.Tensor4D, mode: Mode) => {
  const variables = backboneOf(network)
  const norm = mode === "train" ? trainingNorm(tf, variables, undefined) : evaluationNorm(tf, variables)
  const layer = normalisedConvolutions(tf, variables, norm)
  const maps = resnetForward(tf, geometryOf(network.config), layer, images)
  return ["stem", "layer1", "layer2", "layer3", "layer4"].map((stage, index): [string, HostTensor] => {
    const map = tf.transpose(maps[index]!, [0, 3, 1, 2])
    return [stage, { shape: map.shape, values: map.dataSync() as Float32Array }]
  })
}

describe.each(["backbone_resnet50", "backbone_resnet50_ibn_a"])("golden: %s", (id) => {
  const backbone = new GoldenBackbone(id)
  const { golden, checks } = backbone
  const withSession = (body: (session: SessionShape) => void) =>
    run(Effect.map(Session, (session) => session.tf.tidy(() => body(session))))

  it("has the tensors of the state_dict, in its order", () => {
    const found = networkTensors({ backbone: backbone.backbone }, 1).filter(({ name }) => name.startsWith("backbone."))
    const expected = backbone.tensors.map(({ name, shape }) => ({ name: `backbone.${name}`, shape }))
    expect(found.map(({ name, shape }) => ({ name, shape }))).toEqual(expected)
  })

  it("features and feature maps in evaluation and training, and running statistics", () =>
    withSession((session) => {
      const images = backbone.images(session)
      const network = backbone.network(session)
      for (const [name, mode] of Object.entries(modes)) {
        const maps = stageMaps(session, network, images, mode)
        expect(maps.map(([stage]) => stage)).toEqual(Object.keys(checks.stages[name as keyof typeof modes]))
        for (const [stage, map] of maps)
          backbone.checkSummary(`${name} ${stage}`, map, checks.stages[name as keyof typeof modes][stage]!)
      }
      const tensors = network.read()
      for (const [name, expected] of Object.entries(checks.running_after_one_train_forward))
        backbone.checkSummary(name, tensors.get(`backbone.${name}`)!, expected)
    }))

  it("features by average and GeM pooling, and without the stem's ReLU", () =>
    withSession((session) => {
      const images = backbone.images(session)
      const variants = { "": {}, gem_: { pooling: "gem" }, _norelu: { stemRelu: false } } as const
      for (const [variant, options] of Object.entries(variants)) {
        const network = backbone.network(session, options)
        for (const [name, mode] of Object.entries(modes)) {
          const output = variant.endsWith("_") ? variant + name : name + variant
          if (golden.outputs.includes(output))
            backbone.checkFeature(output, network.forward(images, mode).feature.dataSync())
        }
      }
    }))

  it("gradients of all parameters and of the images", () =>
    withSession((session) => {
      const { tf } = session
      const network = backbone.network(session)
      const images = session.variable("images", () => backbone.images(session))
      const weights = backbone.lossWeights()
      let feature: ArrayLike<number> = []
      const loss = () => {
        const pooled = network.forward(images as tfjs.Tensor as tfjs.Tensor4D, "train").feature
        feature = pooled.dataSync()
        return tf.sum(tf.mul(pooled, tf.tensor2d(Float32Array.from(weights), pooled.shape))) as tfjs.Scalar
      }
      const parameters = Object.keys(checks.grads).filter((name) => name !== "__input__")
      const trained = [...network.parameters.keys()].filter((name) => name.startsWith("backbone."))
      expect(trained).toEqual(parameters.map((name) => `backbone.${name}`))
      const variables = parameters.map((name) => network.parameters.get(`backbone.${name}`)!)
      const { grads } = tf.variableGrads(loss, [...variables, images])
      const value = weights.reduce((sum, weight, i) => sum + weight * feature[i]!, 0)
      golden.check("loss", value, Schema.decodeUnknownSync(Loss)(golden.tolerances.loss))
      for (const [index, name] of parameters.entries())
        backbone.checkSummary(
          `gradient of ${name}`,
          network.toHost(`backbone.${name}`, grads[variables[index]!.name]!),
          checks.grads[name]!
        )
      const values = valuesOf(tf, () => tf.transpose(grads[images.name]!, [0, 3, 1, 2])) as Float32Array
      backbone.checkSummary(
        "gradient of the images",
        { shape: golden.params.input_shape, values },
        checks.grads.__input__!
      )
    }))
})
