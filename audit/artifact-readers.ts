/** What several questions read of a run: the rows of its images, its pseudo labels. */
import { Effect, Stream } from "effect"
import type { Findings } from "#audit/check.ts"
import { inputFiles, type OpenRun, placeOf, type RecordedFile } from "#audit/open-run.ts"
import { type ImageRow, imageRows } from "#data/image-rows.ts"
import { readBatches } from "#pipeline/arrow-file.ts"
import { viewOf } from "#schemas/artifact.ts"
import { pseudoLabels } from "#schemas/pseudo-labels.ts"

/** The rows of the images that a step took in, without their pixels; those of the same files are read once. */
export const imageReader = (run: OpenRun) => {
  const read = new Map<string, ReadonlyArray<ImageRow>>()
  return (digests: ReadonlyArray<string> = []) =>
    Effect.gen(function* () {
      const key = digests.join()
      const files = inputFiles(run, digests)
      const rows =
        read.get(key) ?? (files.length === 0 ? [] : (yield* imageRows(files.map((file) => placeOf(run, file)))).rows)
      read.set(key, rows)
      return rows
    })
}

/** The pseudo labels of a file by image, in its order; what is wrong with a row is a finding where they are given. */
export const readLabels = (run: OpenRun, file: RecordedFile, findings?: Findings) =>
  Effect.gen(function* () {
    const labels = new Map<string, number>()
    let at = 0
    yield* Stream.runForEach(readBatches(pseudoLabels, placeOf(run, file)), (batch) =>
      Effect.sync(() => {
        const { image, label } = viewOf(pseudoLabels, batch)
        for (const [row, name] of image.entries()) {
          if (labels.has(name))
            findings?.add({
              file: file.path,
              row: at,
              column: "image",
              problem: `image "${name}" has two pseudo labels`
            })
          labels.set(name, label[row]!)
          at++
        }
      })
    )
    return labels
  })
