/**
 * ResNet-50 at 256×128 through everything: pre-training, DBSCAN, two MMT iterations of four networks, evaluation, and its way to
 * PyTorch's names and back. It takes minutes: `npm run test:resnet50`.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { tableFromIPC } from "apache-arrow"
import { Effect } from "effect"
import { afterAll, expect, it } from "vitest"
import { writeSynthetic } from "#data/synthetic/write.ts"
import { readWeights } from "#model/weights.ts"
import { mmt, writeRunFile } from "../commands/mmt.ts"

const home = mkdtempSync(join(tmpdir(), "mmt-resnet50-"))
afterAll(() => rmSync(home, { recursive: true, force: true }))

/** The target has 200 images: 100 to train on, 50 queries, 50 in the gallery. */
const sizes = {
  source: { cameras: 5, trainIdentities: 8, trainImages: 1, testIdentities: 1, testImages: 2 },
  target: { cameras: 5, trainIdentities: 20, trainImages: 1, testIdentities: 10, testImages: 2 }
}

const runFile = `name: resnet-50
data: { source: { root: pair/source }, target: { root: pair/target } }
model: { backbone: resnet-50 }
pretrain: { epochs: 1, iterations: 2, identities: 4, warmupEpochs: 0 }
adapt: { epochs: 1, iterations: 2, identities: 4, algorithm: dbscan, minSamples: 2, k1: 10, k2: 3 }
`

const columnOf = (file: string, name: string) => [
  ...tableFromIPC(readFileSync(join(home, "runs/resnet-50", file))).getChild(name)!
]

it("goes through a run on 200 images, and out by torchvision's names", async () => {
  await Effect.runPromise(writeSynthetic({ folder: join(home, "pair"), seed: 1, sizes }))
  writeRunFile(home, runFile, "resnet-50.yaml")
  const { code, out, err } = await mmt(home, "run", "resnet-50.yaml")
  expect(code, err).toBe(0)
  console.log(`${err}\n${out}`)
  expect(columnOf("decode/target-train/part-00000.arrow", "person")).toHaveLength(100)
  expect(columnOf("embed/epoch-001/teacher-1-query/embeddings.arrow", "image")).toHaveLength(50)
  expect(columnOf("train/epoch-001/train-metrics.arrow", "total").every(Number.isFinite)).toBe(true)
  const labels = columnOf("cluster/epoch-001/pseudo-labels.arrow", "label") as ReadonlyArray<number>
  expect(Math.max(...labels)).toBeGreaterThan(1)
  expect(out).toMatch(/\nsource-only +\d[\s\S]*\nmmt, epoch 1 +\d/)

  const exported = await mmt(
    home,
    "checkpoint",
    "export",
    "runs/resnet-50",
    "--backbone-only",
    "--out",
    "teacher.safetensors"
  )
  expect(exported.code, exported.err).toBe(0)
  const weights = (file: string) => Effect.runPromise(readWeights(join(home, file), { backbone: "resnet-50" }, 1))
  const { tensors, initial } = await weights("teacher.safetensors")
  expect(initial).toEqual(["head", "classifier"])
  const own = await weights("runs/resnet-50/train/epoch-001/checkpoint.arrow")
  for (const [name, { values }] of tensors) {
    const expected = own.tensors.get(name)!.values
    // Far faster than an assertion on each.
    expect(
      values.every((value, i) => value === expected[i]),
      name
    ).toBe(true)
  }
}, 1_200_000)
