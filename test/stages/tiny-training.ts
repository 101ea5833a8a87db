/** A network small enough to train in milliseconds, and batches for it. */
import type { RecordBatch } from "apache-arrow"
import { Effect, Schema } from "effect"
import { random } from "#data/random.ts"
import type { ModelConfig } from "#model/config.ts"
import type { Inlet } from "#pipeline/stage.ts"
import { batchOf } from "#schemas/artifact.ts"
import { batches } from "#schemas/batches.ts"
import type { checkpoint } from "#schemas/checkpoint.ts"
import type { centroids } from "#schemas/pseudo-labels.ts"
import { TrainStepParams, trainStepStage } from "#stages/train-step.ts"
import { inlet } from "./run-stage.ts"

export const tinyModel: ModelConfig = {
  backbone: {
    stem: { kernel: 3, stride: 1, channels: 4, maxPool: false },
    widths: [4, 4, 8, 8],
    blocks: [1, 1, 1, 1],
    strides: [1, 2, 2, 1]
  }
}
export const tinyDimension = 8
export const tinySize = { height: 8, width: 4 }
export const tinyClasses = 3
const identities = 2
const instances = 3
export const tinyRows = identities * instances
const values = tinySize.height * tinySize.width * 3

interface Change {
  readonly label?: (label: Int32Array) => Int32Array
  readonly view?: (view: Int8Array) => Int8Array
  readonly pixels?: (pixels: Float32Array) => Float32Array
  readonly size?: typeof tinySize
}

/** A batch of so many views of 2 × 3 images; the iteration decides its pixels. */
export const tinyBatch = (iteration: number, views = 2, change: Change = {}): RecordBatch => {
  const draw = random(1, "tiny", iteration)
  const rows = tinyRows * views
  const label = Int32Array.from(
    { length: rows },
    (_, row) => (iteration + Math.floor((row % tinyRows) / 3)) % tinyClasses
  )
  const view = Int8Array.from({ length: rows }, (_, row) => Math.floor(row / tinyRows))
  const pixels = Float32Array.from(
    { length: rows * values },
    (_, at) => draw.normal() + label[Math.floor(at / values)]!
  )
  return batchOf(
    batches,
    {
      image: Array.from({ length: rows }, (_, row) => `${row % tinyRows}.jpg`),
      label: change.label?.(label) ?? label,
      camera: new Int32Array(rows),
      view: change.view?.(view) ?? view,
      pixels: change.pixels?.(pixels) ?? pixels
    },
    { ...tinySize, ...change.size, classes: tinyClasses, iteration }
  )
}

interface Start {
  readonly checkpoint?: Inlet<typeof checkpoint>
  readonly centroids?: Inlet<typeof centroids>
}

/**
 * Starts train-step on these batches, op by op, since compiling takes longer than a few steps; without a checkpoint, on
 * new networks or those of the session.
 */
export const startTraining = (
  given: ReadonlyArray<RecordBatch>,
  params: Partial<typeof TrainStepParams.Encoded> = {},
  start: Start = {}
) =>
  Effect.gen(function* () {
    const initial = start.checkpoint ? {} : { initial: { model: tinyModel, seed: 1 } }
    const decoded = yield* Schema.decodeUnknownEffect(TrainStepParams)({
      iterations: 10,
      compiled: false,
      ...initial,
      ...params
    })
    const inputs = {
      batches: inlet(batches, given, "batches.arrow"),
      checkpoint: start.checkpoint,
      centroids: start.centroids
    }
    return yield* trainStepStage.run(inputs, decoded)
  })
