/** Batches by the augment stage, with two threads, from the file of decoded images: node augment.ts FOLDER, with images.arrow */
import { join } from "node:path"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Stream } from "effect"
import { imagenetNormalisation } from "#data/augmentation.ts"
import { AugmentationPool } from "#data/augmentation-pool.ts"
import { imageRows } from "#data/image-rows.ts"
import { inletOf } from "#pipeline/arrow-file.ts"
import { images } from "#schemas/images.ts"
import { augmentStage } from "#stages/augment.ts"
import { serve } from "../side.ts"

const threads = 2
/** The paper's: 16 identities × 4 images, each augmented once for each pair of networks. */
const paper = { identities: 16, instances: 4, views: 2, flip: 0.5, pad: 10, erase: 0.5 }
const [folder] = process.argv.slice(2) as [string]
const file = join(folder, "images.arrow")

const program = Effect.gen(function* () {
  const pool = yield* AugmentationPool
  const { height, width, rows } = yield* imageRows([file])
  const places = rows.slice(0, paper.identities * paper.instances).map(({ place }) => place)
  /** Means of each channel over the left half of each image, which tell a flipped image from another. */
  const means = (flip: number) =>
    Effect.map(
      pool.run({
        places,
        views: 1,
        size: { height, width },
        augmentation: { flip, pad: 0, erase: 0 },
        normalisation: imagenetNormalisation,
        seed: 1,
        epoch: 1,
        iteration: 0
      }),
      (pixels) => {
        const sums = new Float64Array(places.length * 3)
        for (const [at, value] of pixels.entries())
          if (Math.floor(at / 3) % width < width / 2)
            sums[Math.floor(at / (height * width * 3)) * 3 + (at % 3)]! += value
        return [...sums.map((sum) => sum / ((height * width) / 2))]
      }
    )
  const values = { "means of the left half": yield* means(0), "means of the left half, flipped": yield* means(1) }
  let epoch = 0
  const batches = (iterations: number) =>
    Effect.gen(function* () {
      const params = {
        ...paper,
        seed: 1,
        epoch: ++epoch,
        iterations,
        firstIteration: 0,
        normalisation: imagenetNormalisation
      }
      const inlets = { images: inletOf(images, [file]), "pseudo-labels": undefined }
      const outlets = yield* augmentStage.run(inlets, params)
      yield* Stream.runDrain(outlets.batches)
    }).pipe(Effect.scoped)
  yield* serve(values, `mmt, ${threads} threads`, batches)
})

NodeRuntime.runMain(program.pipe(Effect.scoped, Effect.provide(AugmentationPool.layer(threads))))
