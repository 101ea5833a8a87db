/** A model's configuration: what run files and checkpoints hold of it, and the tensors that it names. */
import { Result, Schema } from "effect"
import { describe, expect, it } from "vitest"
import { dimensionOf, ModelConfig } from "#model/config.ts"
import { initialTensors } from "#model/initial.ts"
import { networkTensors } from "#model/network.ts"
import { tinyGeometry } from "./tiny-networks.ts"

const json = Schema.fromJsonString(ModelConfig)

describe("a model's configuration", () => {
  it.each([
    '{"backbone":"resnet-small"}',
    '{"backbone":{"stem":{"kernel":7,"stride":2,"channels":16,"maxPool":true},"widths":[16,32,64,128],"blocks":[1,1,1,1],"strides":[1,2,2,1]}}',
    '{"backbone":"resnet-50-ibn-a","pooling":"gem","samplesPerBatchNorm":16}',
    '{"backbone":"resnet-50","embedding":256,"dropout":0.5,"stemRelu":false}'
  ])("is the same text again: %s", (text) => {
    expect(JSON.stringify(Schema.decodeUnknownSync(json)(text))).toBe(text)
  })

  it.each([
    ["samplesPerBatchNorm 0", { backbone: "resnet-50", samplesPerBatchNorm: 0 }],
    ["an embedding of no numbers", { backbone: "resnet-50", embedding: 0 }],
    ["dropout of everything", { backbone: "resnet-50", dropout: 1 }],
    ["dropout below 0", { backbone: "resnet-50", dropout: -0.1 }],
    ["an unknown pooling", { backbone: "resnet-50", pooling: "max" }],
    ["an unknown backbone", { backbone: "resnet-51" }],
    ["IBN of odd widths", { backbone: { ...tinyGeometry, widths: [4, 7, 8, 8], ibn: "a" } }],
    ["an even kernel in the stem", { backbone: { ...tinyGeometry, stem: { ...tinyGeometry.stem, kernel: 4 } } }]
  ])("refuses %s", (_, config) => {
    expect(Result.isFailure(Schema.decodeUnknownResult(ModelConfig)(config))).toBe(true)
  })

  it.each([
    [{ backbone: "resnet-small" }, 128],
    [{ backbone: "resnet-50" }, 2048],
    [{ backbone: "resnet-50-ibn-a" }, 2048],
    [{ backbone: tinyGeometry }, 16],
    [{ backbone: { ...tinyGeometry, block: "bottleneck" } }, 64]
  ] satisfies ReadonlyArray<[ModelConfig, number]>)("%o has features of %i numbers", (config, dimension) => {
    expect(dimensionOf(config)).toBe(dimension)
    const tensors = new Map(networkTensors(config, 5).map(({ name, shape }) => [name, shape]))
    expect(tensors.get("classifier.weight")).toEqual([5, dimension])
    expect(tensors.get("head.feat_bn.weight")).toEqual([dimension])
  })

  it("adds GeM's exponent, which begins at 3, between backbone and head", () => {
    const config = { backbone: tinyGeometry, pooling: "gem" } as const
    const names = networkTensors(config, 5).map(({ name }) => name)
    const at = names.indexOf("global_pooling.p")
    expect(names[at - 1]).toMatch(/^backbone\./)
    expect(names[at + 1]).toBe("head.feat_bn.weight")
    expect(names.toSpliced(at, 1)).toEqual(networkTensors({ backbone: tinyGeometry }, 5).map(({ name }) => name))
    expect(initialTensors(config, 5, 1).get("global_pooling.p")).toEqual({ shape: [1], values: Float32Array.of(3) })
  })

  it("projects features to the embedding in the head, whose classifier and BNNeck follow it", () => {
    const config = { backbone: tinyGeometry, embedding: 6 } as const
    const head = networkTensors(config, 5).filter(({ name }) => !name.startsWith("backbone."))
    expect(head.map(({ name, shape }) => [name, shape])).toEqual([
      ["head.feat_reduction.weight", [6, 16]],
      ["head.feat_reduction.bias", [6]],
      ["head.feat_bn.weight", [6]],
      ["head.feat_bn.bias", [6]],
      ["head.feat_bn.running_mean", [6]],
      ["head.feat_bn.running_var", [6]],
      ["head.feat_bn.num_batches_tracked", []],
      ["classifier.weight", [5, 6]]
    ])
    const wide = { ...config, embedding: 4000 }
    const { values } = initialTensors(wide, 5, 1).get("head.feat_reduction.weight")!
    // Kaiming's deviation by the fan-out, to four of its standard errors.
    const deviation = Math.sqrt((values as Float32Array).reduce((sum, value) => sum + value ** 2, 0) / values.length)
    expect(Math.abs(deviation / Math.sqrt(2 / 4000) - 1)).toBeLessThan(4 / Math.sqrt(2 * values.length))
    expect(new Set(initialTensors(wide, 5, 1).get("head.feat_reduction.bias")!.values)).toEqual(new Set([0]))
  })
})
