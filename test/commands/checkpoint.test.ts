/** Weights in and out of runs, by whole commands. */
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { checkpointOfBytes } from "#model/checkpoint-files/read.ts"
import { drawPair, type Ended, events, mmt, sha256, startedTasks, tinyRun, writeRunFile } from "./mmt.ts"

// Whole runs in processes of their own, on a machine that may be busy.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 })

let home: string
let first: Ended
const shortRun = tinyRun
  .replace("pretrain: { epochs: 2, iterations: 3", "pretrain: { epochs: 1, iterations: 2")
  .replace("adapt: { epochs: 2, iterations: 3", "adapt: { epochs: 1, iterations: 2")
const withoutSource = shortRun.replace("  source: { root: pair/source }\n", "")
const inHome = (...path: ReadonlyArray<string>) => join(home, ...path)
const tensorsOf = (file: string, state = "") => checkpointOfBytes(readFileSync(inHome(file)), file).states.get(state)!

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "mmt-checkpoint-"))
  await drawPair(home)
  writeRunFile(home, shortRun)
  first = await mmt(home, "run", "tiny.yaml", "--threads", "1")
})
afterAll(() => rmSync(home, { recursive: true, force: true }))

describe("mmt checkpoint", () => {
  it("export writes the last epoch's network by torchvision's names, value by value", async () => {
    expect(first.code, first.err).toBe(0)
    const { code, out, err } = await mmt(home, "checkpoint", "export", "runs/tiny", "--out", "out/teacher.safetensors")
    expect(code, err).toBe(0)
    expect(out).toBe("out/teacher.safetensors: 78 tensors of teacher-1 in runs/tiny/train/epoch-001/checkpoint.arrow\n")
    const exported = tensorsOf("out/teacher.safetensors")
    const own = tensorsOf("runs/tiny/train/epoch-001/checkpoint.arrow", "teacher-1")
    const outside = (name: string) => name.replace(/^(backbone|head)\./, "")
    expect([...exported.keys()].sort()).toEqual([...own.keys()].map(outside).sort())
    expect([...exported.keys()]).toEqual(
      expect.arrayContaining(["conv1.weight", "layer4.0.downsample.1.running_var", "feat_bn.weight"])
    )
    for (const [name, { shape, dtype, values }] of own) {
      const found = exported.get(outside(name))!
      expect({ shape: found.shape, dtype: found.dtype, values: found.values() }).toEqual({
        shape,
        dtype,
        values: values()
      })
    }
  })

  it("export writes the backbone alone, of any checkpoint.arrow", async () => {
    const from = "runs/tiny/pretrain/student-2/epoch-001/checkpoint.arrow"
    const flags = ["--network", "student-2", "--backbone-only", "--out", "backbone.safetensors"]
    const { code, err } = await mmt(home, "checkpoint", "export", from, ...flags)
    expect(code, err).toBe(0)
    const names = [...tensorsOf("backbone.safetensors").keys()]
    expect(names).toHaveLength(72)
    expect(names.filter((name) => !/^(conv1|bn1|layer\d)\./.test(name))).toEqual([])
  })

  it.each([
    [["runs/tiny", "--network", "teacher-3"], /^network "teacher-3" is not there \(present: student-1, .*teacher-2\)/],
    [["nowhere"], /^nowhere: refused as a checkpoint: there is no such file\n$/],
    [["pair"], /^pair: is not a run's folder: it has no run.yaml\n$/]
  ])("export of %j says what is wrong", async (args, message) => {
    const { code, err } = await mmt(home, "checkpoint", "export", ...args, "--out", "none.safetensors")
    expect([code, err]).toEqual([1, expect.stringMatching(message)])
    expect(existsSync(inHome("none.safetensors"))).toBe(false)
  })

  it("show says what a file holds and what it is here", async () => {
    const { out, err } = await mmt(home, "checkpoint", "show", "out/teacher.safetensors")
    expect(err).toBe("")
    const parts = out.trimEnd().split("\n\n")
    expect(parts[0]).toBe("out/teacher.safetensors: safetensors\n  format = pt\n  network = teacher-1")
    expect(parts[1]).toBe("78 tensors")
    expect(parts[2]).toMatch(/^tensor +dtype +shape +here\n/)
    expect(parts[2]).toMatch(/\nfeat_bn.bias +float32 +\[128\] +head.feat_bn.bias\n/)
    expect(parts[3]).toBe("fits model: { backbone: resnet-small }")
  })
})

describe("a run that starts from files", () => {
  const checkpoint = (student: number) => `runs/tiny/pretrain/student-${student}/epoch-001/checkpoint.arrow`

  it("goes on from pretrain.checkpoints as the run that trained them, without a source", async () => {
    writeRunFile(
      home,
      `${withoutSource.replace("pretrain: {", `pretrain: { checkpoints: [${checkpoint(1)}, ${checkpoint(2)}],`)}`,
      "go-on.yaml"
    )
    const { code, out, err } = await mmt(home, "run", "go-on.yaml", "--threads", "1", "--out", "runs/go-on")
    expect(code, err).toBe(0)
    expect(err).toContain(`student-2 starts with 78 tensors of ${checkpoint(2)}\n`)
    expect(out).toMatch(/\nsource-only .*\n[\s\S]*\nmmt, epoch 1 /)
    const same = [
      "embed/epoch-001/target-train/embeddings.arrow",
      "train/epoch-001/train-metrics.arrow",
      "train/epoch-001/checkpoint.arrow"
    ]
    for (const file of same) expect(sha256(inHome("runs/go-on", file)), file).toBe(sha256(inHome("runs/tiny", file)))
  })

  it("is unsupervised from model.weights, and made anew with a reason when the file has changed", async () => {
    copyFileSync(inHome("backbone.safetensors"), inHome("weights.safetensors"))
    const model = "model: { backbone: resnet-small, weights: weights.safetensors }\n"
    writeRunFile(home, withoutSource + model, "unsupervised.yaml")
    const args = ["unsupervised.yaml", "--out", "runs/unsupervised"]
    const { code, out, err } = await mmt(home, "run", ...args)
    expect(code, err).toBe(0)
    expect(err).toContain(
      "student-1 starts with 72 tensors of weights.safetensors; not in it, so new: head, classifier\n"
    )
    expect(out).not.toContain("source-only")
    const started = startedTasks(inHome("runs/unsupervised"))
    expect(started.slice(0, 5)).toEqual([
      "decode/target-train",
      "decode/target-query",
      "decode/target-gallery",
      "start/student-1",
      "start/student-2"
    ])
    expect(events(inHome("runs/unsupervised")).filter(({ type }) => type === "weights")).toHaveLength(2)
    const kernel = (file: string, state: string, name: string) => tensorsOf(file, state).get(name)!.values()
    expect(kernel("runs/unsupervised/start/student-2/checkpoint.arrow", "student-2", "backbone.conv1.weight")).toEqual(
      kernel("weights.safetensors", "", "conv1.weight")
    )
    const done = await mmt(home, "plan", "runs/unsupervised/run.yaml", "--out", "runs/unsupervised")
    expect(done.out).toMatch(/\n(\d+) of \1 tasks done in runs\/unsupervised\n$/)
    const bytes = readFileSync(inHome("weights.safetensors"))
    bytes[bytes.length - 1]! ^= 1
    writeFileSync(inHome("weights.safetensors"), bytes)
    const stale = await mmt(home, "plan", ...args)
    expect(stale.out).toMatch(/\nstart\/student-1 +train-step +stale +input weights of train-step has changed\n/)
  })

  it.each([
    ["tiny.yaml", "there is no such file", "none.pth"],
    ["tiny.yaml", "it is none of PyTorch's .pth", "tiny.yaml"],
    ["tiny.yaml", "its tensors are not those of a resnet-50 network", "backbone.safetensors"]
  ])("%s with weights that do not do: %s", async (file, problem, weights) => {
    const model = `model={ backbone: resnet-50, weights: ${weights} }`
    const { code, err } = await mmt(home, "run", file, "--set", model, "--out", "runs/none")
    expect(code).toBe(1)
    expect(err).toContain(`${weights}: `)
    expect(err).toContain(problem)
    expect(err).not.toMatch(/ at /)
    expect(startedTasks(inHome("runs/none"))).toEqual([])
  })
})
