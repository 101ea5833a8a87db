/** Writes images.arrow, decoded images to augment, for both sides: node augment-inputs.ts FOLDER */
import { join } from "node:path"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Stream } from "effect"
import { random } from "#data/random.ts"
import { writeBatches } from "#pipeline/arrow-file.ts"
import { batchOf } from "#schemas/artifact.ts"
import { images } from "#schemas/images.ts"

const [height, width, rows, rowsPerBatch, identities] = [256, 128, 1_024, 256, 64]
const [folder] = process.argv.slice(2) as [string]

/** A gradient of its own for each image and channel, and noise. */
const drawn = (index: number): Uint8Array => {
  const draw = random(1, "image", index)
  const slopes = Array.from(
    { length: 3 },
    () => [draw.uniform(20, 120), draw.uniform(0, 0.3), draw.uniform(0, 0.3)] as const
  )
  return Uint8Array.from({ length: height * width * 3 }, (_, at) => {
    const [base, down, right] = slopes[at % 3]!
    const pixel = Math.floor(at / 3)
    return base + down * Math.floor(pixel / width) + right * (pixel % width) + (draw.uint32() & 15)
  })
}

const batch = (number: number) => {
  const indices = Array.from({ length: rowsPerBatch }, (_, i) => number * rowsPerBatch + i)
  const pixels = new Uint8Array(rowsPerBatch * height * width * 3)
  for (const [i, index] of indices.entries()) pixels.set(drawn(index), i * height * width * 3)
  const view = {
    image: indices.map((index) => `${index}.jpg`),
    person: Int32Array.from(indices, (index) => index % identities),
    camera: Int32Array.from(indices, (index) => index % 6),
    pixels
  }
  return batchOf(images, view, { height, width, dataset: "bench", split: "train" })
}

const batches = Stream.range(0, rows / rowsPerBatch - 1).pipe(Stream.map(batch))
NodeRuntime.runMain(writeBatches(() => join(folder, "images.arrow"), Infinity, batches))
