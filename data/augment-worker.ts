/** The worker thread that makes batches: reads the pixels of each row from its file and augments each view of it. */
import { openSync, readSync } from "node:fs"
import { move } from "piscina"
import { augment, normalisationTable, type Size } from "#data/augmentation.ts"
import type { Augmentation, Normalisation } from "#data/augmentation-settings.ts"
import type { PixelPlace, PixelPlaces } from "#data/image-rows.ts"
import { random } from "#data/random.ts"

/** One batch to make: view 0 of all rows, then view 1. Its random numbers depend on these keys alone. */
export interface AugmentJob {
  readonly places: ReadonlyArray<PixelPlace>
  readonly views: number
  readonly size: Size
  readonly augmentation: Augmentation
  readonly normalisation: Normalisation
  readonly seed: number
  readonly epoch: number
  readonly iteration: number
}

/** A batch to make, and the memory to make it in. */
export interface AugmentTask {
  readonly job: Omit<AugmentJob, "places">
  readonly places: PixelPlaces
  readonly memory: SharedArrayBuffer | undefined
}

const handles = new Map<string, number>()

const handleOf = (file: string): number => {
  const open = handles.get(file) ?? openSync(file, "r")
  handles.set(file, open)
  return open
}

const readPixels = (file: string, offset: number, into: Uint8Array): void => {
  const bytes = readSync(handleOf(file), into, 0, into.length, offset)
  if (bytes < into.length)
    throw new Error(`${file}: ends before the pixels at byte ${offset}; was it changed meanwhile?`)
}

/** Pixels [views · rows, height, width, 3], normalised: in the memory given, or as one transferred array. */
export default ({ job, places: { files, fileOf, offsets }, memory }: AugmentTask) => {
  const { views, size, augmentation, seed, epoch, iteration } = job
  const values = size.height * size.width * 3
  const table = normalisationTable(job.normalisation)
  const images = offsets.length
  const out = memory === undefined ? new Float32Array(views * images * values) : new Float32Array(memory)
  const pixels = new Uint8Array(values)
  for (let position = 0; position < images; position++) {
    readPixels(files[fileOf[position]!]!, offsets[position]!, pixels)
    for (let view = 0; view < views; view++) {
      const start = (view * images + position) * values
      const draw = random(seed, "augment", epoch, iteration, position, view)
      augment(pixels, size, augmentation, table, draw, out.subarray(start, start + values))
    }
  }
  return memory === undefined ? move(out) : out
}
