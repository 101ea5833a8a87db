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
    '{"backbone":"resnet-50","stemRelu":false}'
  ])("is the same text again: %s", (text) => {
    expect(JSON.stringify(Schema.decodeUnknownSync(json)(text))).toBe(text)
  })

  it.each([
    ["samplesPerBatchNorm 0", { backbone: "resnet-50", samplesPerBatchNorm: 0 }],
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
})
