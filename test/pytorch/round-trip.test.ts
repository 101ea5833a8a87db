/** Weights go to PyTorch and come back: where a Python with torch and torchvision is to be had. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { cacheFolder } from "#engine/layout.ts"
import { exportedName } from "#model/checkpoint-files/names.ts"
import { checkpointOfBytes } from "#model/checkpoint-files/read.ts"
import { safetensorsBytes, type WritableTensor } from "#model/checkpoint-files/safetensors.ts"
import { networkTensors } from "#model/network.ts"
import { readWeights } from "#model/weights.ts"
import { start } from "../commands/mmt.ts"

// PyTorch takes its time to load, on a machine that may be busy.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 })

/** The Python of the bench's environment, where it was made. */
const benchPython = () => {
  const cache = join(dirname(cacheFolder()), "bench")
  const folders = existsSync(cache) ? readdirSync(cache).filter((name) => name.startsWith("venv-")) : []
  return folders.map((name) => join(cache, name, "bin/python")).find(existsSync)
}
const python = process.env.MMT_BENCH_PYTHON ?? benchPython()
if (python === undefined)
  console.warn("no Python with PyTorch here (`npm run bench` makes one): nothing is loaded by it")

const model = { backbone: "resnet-50" } as const

/** A ResNet-50's backbone, each value another than its neighbours. */
const backbone = new Map(
  networkTensors(model, 0)
    .filter(({ name }) => name.startsWith("backbone."))
    .map(({ name, shape, kind }, number): [string, WritableTensor] => {
      const size = shape.reduce((a, b) => a * b, 1)
      const values =
        kind === "count"
          ? BigInt64Array.of(BigInt(number))
          : new Float32Array(size).map((_, i) => (i % 997) + number / 512)
      return [name, { shape, values }]
    })
)

describe.skipIf(python === undefined)("a backbone that PyTorch loads strictly and saves again", () => {
  let home: string
  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), "mmt-pytorch-"))
    const exported = new Map([...backbone].map(([name, tensor]) => [exportedName(name), tensor] as const))
    writeFileSync(join(home, "in.safetensors"), safetensorsBytes(exported, { format: "pt" }))
    const script = fileURLToPath(new URL("round_trip.py", import.meta.url))
    const { code, err } = await start(python!, [script, join(home, "in.safetensors"), home], home).ended
    expect(code, err).toBe(0)
  })
  afterAll(() => rmSync(home, { recursive: true, force: true }))

  it.each(["zip.pth", "legacy.pth"])("comes back from %s as it was", async (name) => {
    const { tensors, initial } = await Effect.runPromise(readWeights(join(home, name), model, 1))
    expect(initial).toEqual(["head", "classifier"])
    expect([...tensors.keys()]).toEqual([...backbone.keys()])
    for (const [key, { shape, values }] of backbone) {
      expect(tensors.get(key)!.shape).toEqual(shape)
      const found = tensors.get(key)!.values
      // Far faster than an assertion on each.
      expect(
        found.every((value, i) => value === Number(values[i])),
        key
      ).toBe(true)
    }
  })

  it("is written with the epoch beside it", () => {
    const { notes } = checkpointOfBytes(readFileSync(join(home, "legacy.pth")), "legacy.pth")
    expect(Object.fromEntries(notes)).toEqual({ epoch: 3 })
  })
})
