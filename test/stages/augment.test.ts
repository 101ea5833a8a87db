import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { RecordBatch } from "apache-arrow"
import { Effect, Schema } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { imagenetNormalisation, normalisationTable } from "#data/augmentation.ts"
import { AugmentationPool } from "#data/augmentation-pool.ts"
import { inletOf } from "#pipeline/arrow-file.ts"
import { batchOf, metadataOf, viewOf } from "#schemas/artifact.ts"
import { batches } from "#schemas/batches.ts"
import { images } from "#schemas/images.ts"
import { pseudoLabels } from "#schemas/pseudo-labels.ts"
import { AugmentParams, augmentStage } from "#stages/augment.ts"
import { arrowBytes } from "../schemas/arrow-bytes.ts"
import { drain, inlet } from "./run-stage.ts"

const size = { height: 4, width: 2 }
const bytes = size.height * size.width * 3
const persons = 6
const rows = persons * 5

// Each image has one colour, by which it can be told: its row in red.
const imageBatch = (from: number, to: number) =>
  batchOf(
    images,
    {
      image: Array.from({ length: to - from }, (_, i) => `${from + i}.jpg`),
      person: Int32Array.from({ length: to - from }, (_, i) => 100 + 10 * ((from + i) % persons)),
      camera: Int32Array.from({ length: to - from }, (_, i) => (from + i) % 3),
      pixels: Uint8Array.from({ length: (to - from) * bytes }, (_, at) => from + Math.floor(at / bytes))
    },
    { ...size, dataset: "test", split: "train" }
  )

let folder: string
let files: ReadonlyArray<string>
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "augment-"))
  files = ["a.arrow", "b.arrow"].map((name) => join(folder, name))
  await writeFile(files[0]!, arrowBytes([imageBatch(0, 7), imageBatch(7, 12)]))
  await writeFile(files[1]!, arrowBytes([imageBatch(12, rows)]))
})
afterAll(() => rm(folder, { recursive: true }))

const settings = { iterations: 5, identities: 3, instances: 4, flip: 0, pad: 0, erase: 0 }
const labelBatch = (image: ReadonlyArray<string>, label: (image: string) => number) =>
  batchOf(pseudoLabels, { image, label: Int32Array.from(image, label) }, {})
const names = Array.from({ length: rows }, (_, row) => `${row}.jpg`)

const stageOutput = (
  params: Partial<typeof AugmentParams.Encoded>,
  { labels, threads = 1 }: { labels?: ReadonlyArray<RecordBatch>; threads?: number } = {}
) =>
  Effect.gen(function* () {
    const decoded = yield* Schema.decodeUnknownEffect(AugmentParams)({ ...settings, ...params })
    const outlets = yield* augmentStage.run(
      {
        images: inletOf(images, files),
        "pseudo-labels": labels ? inlet(pseudoLabels, labels, "labels.arrow") : undefined
      },
      decoded
    )
    return (yield* drain(outlets)).batches
  }).pipe(Effect.scoped, Effect.provide(AugmentationPool.layer(threads)))

describe("augment", () => {
  it("makes batches of P × K images for each view, with labels and pixels of their images", async () => {
    const out = await Effect.runPromise(stageOutput({}))
    expect(out.length).toBe(5)
    const red = normalisationTable(imagenetNormalisation)[0]!
    for (const [iteration, batch] of out.entries()) {
      const { image, label, camera, view, pixels } = viewOf(batches, batch)
      expect(metadataOf(batches, batch, "")).toMatchObject({
        success: { ...size, classes: persons, epoch: 1, iteration }
      })
      expect([...view]).toEqual([...Array(12).fill(0), ...Array(12).fill(1)])
      expect(image.slice(0, 12)).toEqual(image.slice(12))
      for (const [at, name] of image.entries()) {
        const row = Number.parseInt(name, 10)
        expect(label[at]).toBe(row % persons)
        expect(camera[at]).toBe(row % 3)
        expect(pixels[at * bytes]).toBe(red[row])
      }
      const counts = Map.groupBy(label.slice(0, 12), (l) => l)
      expect([...counts.values()].map((rows) => rows.length)).toEqual([4, 4, 4])
    }
  })

  it("gives the same batches for any number of threads, and others for another epoch", async () => {
    const params = { flip: 0.5, pad: 1, erase: 0.5 }
    const pixels = (out: ReadonlyArray<RecordBatch>) => out.map((batch) => viewOf(batches, batch).pixels)
    const one = pixels(await Effect.runPromise(stageOutput(params)))
    expect(pixels(await Effect.runPromise(stageOutput(params, { threads: 3 })))).toEqual(one)
    expect(pixels(await Effect.runPromise(stageOutput({ ...params, epoch: 2 })))).not.toEqual(one)
  })

  it("takes pseudo labels by the image's name; outliers take no part", async () => {
    const labels = [
      labelBatch(names.slice(20).reverse(), (name) => (Number.parseInt(name, 10) % 4) - 1),
      labelBatch(names.slice(0, 20), (name) => (Number.parseInt(name, 10) % 4) - 1)
    ]
    const out = await Effect.runPromise(stageOutput({}, { labels }))
    for (const batch of out) {
      const { image, label } = viewOf(batches, batch)
      expect(Array.from(label)).toEqual(image.map((name) => (Number.parseInt(name, 10) % 4) - 1))
      expect(label.every((l) => l >= 0)).toBe(true)
      expect(metadataOf(batches, batch, "")).toMatchObject({ success: { classes: 3 } })
    }
  })

  it.each([
    [
      "an image without a label",
      [labelBatch(names.slice(1), () => 0)],
      'labels.arrow: image "0.jpg" has no pseudo label; run the cluster stage on these images'
    ],
    [
      "an image with two labels",
      [labelBatch(names, () => 0), labelBatch(["3.jpg"], () => 1)],
      'labels.arrow: image "3.jpg" has two pseudo labels'
    ],
    [
      "too few identities",
      [labelBatch(names, (name) => (name === "0.jpg" ? 1 : 0))],
      "labels.arrow: 2 identities do not fill a batch of 3 × 4 images; choose fewer identities a batch, or settings that give more clusters (classes of k-means; eps, k1, minSamples of DBSCAN)"
    ]
  ])("refuses %s", async (_, labels, message) => {
    const error = await Effect.runPromise(Effect.flip(stageOutput({}, { labels })))
    expect(error.message).toBe(message)
  })
})
