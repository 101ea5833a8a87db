/** Weights by the names that other projects give them: all that is recognised, and what is said of what is not. */
import { readFileSync } from "node:fs"
import { Effect, Result } from "effect"
import { describe, expect, it } from "vitest"
import { exportedName, knownNames, stateOfStudent } from "#model/checkpoint-files/names.ts"
import type { CheckpointFile, StateDict } from "#model/checkpoint-files/read.ts"
import type { FileTensor } from "#model/checkpoint-files/tensor.ts"
import type { ModelConfig } from "#model/config.ts"
import { networkTensors } from "#model/network.ts"
import { fitWeights, weightsOfStudent } from "#model/weights.ts"
import { tinyModel } from "../stages/tiny-training.ts"

interface Named {
  readonly name: string
  readonly shape: ReadonlyArray<number>
}
type Rename = (name: string) => string

const tensor = (shape: ReadonlyArray<number>, dtype: FileTensor["dtype"] = "float32", value = 0.5): FileTensor => ({
  dtype,
  shape,
  values: () => {
    const length = shape.reduce((a, b) => a * b, 1)
    return dtype === "int64" ? new BigInt64Array(length).fill(7n) : new Float32Array(length).fill(value)
  }
})
const isCount = (name: string) => name.endsWith("num_batches_tracked")
const stateOf = (tensors: ReadonlyArray<Named>, rename: Rename = (name) => name): StateDict =>
  new Map(tensors.map(({ name, shape }) => [rename(name), tensor(shape, isCount(name) ? "int64" : "float32")]))

/** The backbone's tensors as torchvision and IBN-Net name them. */
const backbone = (file: string): ReadonlyArray<Named> => {
  const url = new URL(`../golden/backbone/${file}_params.json`, import.meta.url)
  return (JSON.parse(readFileSync(url, "utf8")) as { tensors: ReadonlyArray<Named> }).tensors
}
const resnet50 = backbone("resnet50")
const ibn = backbone("resnet50_ibn_a")

const batchNorm = (name: string) =>
  ["weight", "bias", "running_mean", "running_var"].map((key) => ({ name: `${name}.${key}`, shape: [2048] }))
const counted = (name: string): Named => ({ name: `${name}.num_batches_tracked`, shape: [] })
const fc = [
  { name: "fc.weight", shape: [1000, 2048] },
  { name: "fc.bias", shape: [1000] }
]
const classifier = { name: "classifier.weight", shape: [3, 2048] }

/** A head and a classifier by the names of the original code. */
const originalHead = [...batchNorm("feat_bn"), counted("feat_bn"), classifier]
const openUnReID = [
  ...resnet50.map(({ name, shape }) => ({ name: `backbone.${name}`, shape })),
  { name: "global_pooling.p", shape: [1] },
  ...batchNorm("head.feat_bn"),
  counted("head.feat_bn"),
  classifier
]

const sequential =
  (layers: ReadonlyArray<string>): Rename =>
  (name) => {
    const [layer, ...rest] = name.split(".")
    return ["base", layers.indexOf(layer!), ...rest].join(".")
  }
const withoutRelu = sequential(["conv1", "bn1", "maxpool", "layer1", "layer2", "layer3", "layer4"])
const withRelu = sequential(["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"])
const renamed = (tensors: ReadonlyArray<Named>, rename: Rename) =>
  tensors.map(({ name, shape }) => ({ name: rename(name), shape }))
const inModule: Rename = (name) => `module.${name}`
/** BatchNorm by domain, as OpenUnReID's training on two data sets has it. */
const byDomain = openUnReID.flatMap(({ name, shape }) => {
  const [, layer, rest] = /^(.*(?:bn\d|feat_bn|downsample\.1))\.([^.]+)$/.exec(name) ?? []
  return layer ? [0, 1].map((domain) => ({ name: `${layer}.dsbn.${domain}.${rest}`, shape })) : [{ name, shape }]
})

const modelOf = (name: "resnet-50" | "resnet-50-ibn-a", more: Partial<ModelConfig> = {}) => ({
  backbone: name,
  ...more
})
const fitted = (state: StateDict, model: ModelConfig) =>
  Result.getOrThrow(fitWeights(knownNames(state), model, "a.pth"))

describe("the weights of a network", () => {
  it.each<readonly [what: string, state: StateDict, model: ModelConfig, initial: Array<string>, leftOut: number]>([
    [
      "torchvision and timm, with ImageNet's classifier",
      stateOf([...resnet50, ...fc]),
      modelOf("resnet-50"),
      ["head", "classifier"],
      2
    ],
    [
      "torchvision before counts of batches",
      stateOf(resnet50.filter(({ name }) => !isCount(name))),
      modelOf("resnet-50"),
      ["head", "classifier"],
      0
    ],
    [
      "IBN-Net, in DataParallel",
      stateOf([...ibn, ...fc], inModule),
      modelOf("resnet-50-ibn-a"),
      ["head", "classifier"],
      2
    ],
    [
      "the original code's ResNet-50",
      stateOf([...renamed(resnet50, withoutRelu), ...originalHead], inModule),
      modelOf("resnet-50", { stemRelu: false }),
      [],
      0
    ],
    [
      "the original code's IBN-ResNet-50",
      stateOf([...renamed(ibn, withRelu), ...originalHead], inModule),
      modelOf("resnet-50-ibn-a"),
      [],
      0
    ],
    ["OpenUnReID, pre-trained", stateOf(openUnReID, inModule), modelOf("resnet-50", { pooling: "gem" }), [], 0],
    [
      "OpenUnReID, student and mean teacher with BatchNorm by domain",
      new Map([
        ...stateOf(byDomain, (name) => `module.net.${name}`),
        ...stateOf(byDomain, (name) => `module.mean_net.${name}`)
      ]),
      modelOf("resnet-50", { pooling: "gem" }),
      [],
      byDomain.length + (byDomain.length - openUnReID.length)
    ]
  ])("are known by the names of %s", (_, state, model, initial, leftOut) => {
    const found = fitted(state, model)
    const own = networkTensors(model, 3).filter(({ name }) => !initial.includes(name.split(".")[0]!))
    const expected = own.filter(({ name }) => !isCount(name) || [...found.tensors.keys()].includes(name))
    expect([...found.tensors].map(([name, { shape }]) => [name, shape])).toEqual(
      expected.map(({ name, shape }) => [name, shape])
    )
    expect(found.initial).toEqual(initial)
    expect(found.leftOut).toHaveLength(leftOut)
  })

  it("are the mean teacher's and the last domain's", () => {
    const [net, mean] = [0.25, 0.75].map((value) => tensor([4], "float32", value)) as [FileTensor, FileTensor]
    const names = knownNames(
      new Map([
        ["net.backbone.bn1.dsbn.1.bias", net],
        ["mean_net.backbone.bn1.dsbn.0.bias", net],
        ["mean_net.backbone.bn1.dsbn.1.bias", mean]
      ])
    )
    expect([...names.tensors]).toEqual([
      ["backbone.bn1.bias", { inFile: "mean_net.backbone.bn1.dsbn.1.bias", tensor: mean }]
    ])
    expect(names.leftOut).toEqual(["net.backbone.bn1.dsbn.1.bias", "mean_net.backbone.bn1.dsbn.0.bias"])
  })

  it("are rounded to float32, and counts taken from integers", () => {
    const state = new Map(stateOf(networkTensors(tinyModel, 3)))
    state.set("head.feat_bn.weight", {
      ...tensor([8]),
      dtype: "float64",
      values: () => new Float64Array(8).fill(1 / 3)
    })
    const { tensors } = fitted(state, tinyModel)
    expect(tensors.get("head.feat_bn.weight")!.values).toEqual(new Float32Array(8).fill(1 / 3))
    expect(tensors.get("head.feat_bn.num_batches_tracked")!.values).toEqual(Float64Array.of(7))
  })

  it("come back by the names under which they are exported", () => {
    const names = networkTensors({ ...tinyModel, pooling: "gem" }, 3).map(({ name }) => name)
    const known = knownNames(new Map(names.map((name) => [exportedName(name), tensor([1])])))
    expect([...known.tensors.keys()]).toEqual(names)
    expect(exportedName("backbone.layer1.0.conv1.weight")).toBe("layer1.0.conv1.weight")
  })
})

describe("weights that do not fit", () => {
  const whole = stateOf(networkTensors(tinyModel, 3))
  const problem = (change: (state: Map<string, FileTensor>) => void, model: ModelConfig = tinyModel) => {
    const state = new Map(whole)
    change(state)
    const result = fitWeights(knownNames(state), model, "a.pth")
    return Result.isFailure(result) ? result.failure : expect.fail("it fits")
  }

  it("are all listed at once", () => {
    const error = problem((state) => {
      state.delete("backbone.conv1.weight")
      state.delete("head.feat_bn.running_mean")
      state.set("module.layer9.0.conv1.weight", tensor([1]))
      state.set("surprise", tensor([1]))
      state.set("backbone.bn1.bias", tensor([5]))
      state.set("backbone.bn1.weight", tensor([4], "int64"))
      state.set("backbone.bn1.running_var", tensor([4], "float32", Number.NaN))
      state.set("feat_bn.bias", tensor([8]))
    })
    expect(error._tag).toBe("WeightsUnfit")
    expect(error.message.split("\n")).toEqual([
      "a.pth: its tensors are not those of a residual network",
      "  it lacks (2): backbone.conv1.weight, head.feat_bn.running_mean",
      "  the model has no (2): module.layer9.0.conv1.weight, surprise",
      "  wrong (4): feat_bn.bias is there under another name too, backbone.bn1.weight is int64, expected float32, backbone.bn1.bias has shape [5], expected [4], backbone.bn1.running_var holds a value that is no finite number"
    ])
  })

  it("are those of another backbone, or of another pooling", () => {
    const of = (state: StateDict, model: ModelConfig) => {
      const result = fitWeights(knownNames(state), model, "a.pth")
      return Result.isFailure(result) ? result.failure : expect.fail("it fits")
    }
    const other = of(stateOf(ibn), modelOf("resnet-50"))
    expect([other.missing.length, other.unknown.length]).toEqual([52, 91])
    expect(of(stateOf(openUnReID), modelOf("resnet-50")).unknown).toEqual(["global_pooling.p"])
  })

  it("are those of a stem without ReLU, for a model that has one", () => {
    const state = stateOf([...renamed(resnet50, withoutRelu), ...originalHead])
    const result = fitWeights(knownNames(state), modelOf("resnet-50"), "a.pth")
    expect(Result.isFailure(result) && result.failure.wrong).toEqual([
      "its stem has no ReLU, as the original code's ResNet-50; set model.stemRelu: false"
    ])
  })
})

describe("of a file with several networks", () => {
  const file = (...keys: ReadonlyArray<string>): CheckpointFile => ({
    format: "PyTorch",
    states: new Map(keys.map((key) => [key, new Map([[key, tensor([1])]])])),
    notes: new Map()
  })
  const keyOf = (checkpoint: CheckpointFile, number: number) =>
    [...(stateOfStudent(checkpoint, number)?.keys() ?? [])][0]

  it.each([
    [["anything"], "anything", "anything"],
    [["state_dict_1", "state_dict_2"], "state_dict_1", "state_dict_2"],
    [["student-1", "student-2", "teacher-1", "teacher-2"], "teacher-1", "teacher-2"],
    [["student-1", "student-2"], "student-1", "student-2"],
    [["ema", "state_dict"], "state_dict", "state_dict"],
    [["ema", "model"], "model", "model"]
  ])("%j: the students take %s and %s", (keys, first, second) => {
    expect([keyOf(file(...keys), 1), keyOf(file(...keys), 2)]).toEqual([first, second])
  })

  it("none is taken by chance", async () => {
    const error = await Effect.runPromise(Effect.flip(weightsOfStudent(file("a", "b"), "x.pth", tinyModel, 2)))
    expect(error.message).toBe(
      "x.pth: refused as a checkpoint: it holds several networks (a, b), none of which is called as student 2's is"
    )
  })
})
