/** Checks of what the networks were trained on: the batches of every epoch, which the sampler gives again, and the tapped ones. */
import { Effect, Result, Stream } from "effect"
import { imageReader, readLabels } from "#audit/artifact-readers.ts"
import { type Check, type Findings, overTasks } from "#audit/check.ts"
import { inputFiles, type OpenRun, placeOf, type RecordedFile, recordedParams } from "#audit/open-run.ts"
import makeBatch from "#data/augment-worker.ts"
import { type ImageRow, pixelPlaces } from "#data/image-rows.ts"
import { readBatches } from "#pipeline/arrow-file.ts"
import type { StepRecord } from "#pipeline/manifest.ts"
import { type ArtifactError, metadataOf, viewOf } from "#schemas/artifact.ts"
import { batches } from "#schemas/batches.ts"
import { AugmentParams, augmentationOf, chosenRows, labelsOfPersons } from "#stages/augment.ts"

type Params = typeof AugmentParams.Type

/** The batches of an epoch as the sampler gives them: of each image its row, and the label of each row. */
export interface SampledEpoch {
  readonly params: Params
  readonly rows: ReadonlyArray<ImageRow>
  readonly labels: ReadonlyArray<number>
  readonly batches: ReadonlyArray<ReadonlyArray<number>>
}

/** Samples an epoch again from what was recorded of its augment stage. */
export const sampleAgain = (
  run: OpenRun,
  step: StepRecord,
  rows: ReadonlyArray<ImageRow>
): Effect.Effect<SampledEpoch, ArtifactError> =>
  Effect.gen(function* () {
    const decoded = yield* recordedParams(AugmentParams, step)
    const file = inputFiles(run, step.inputs["pseudo-labels"])[0]
    const labelOf = file && (yield* readLabels(run, file))
    const labels = labelOf ? rows.map(({ image }) => labelOf.get(image) ?? -1) : labelsOfPersons(rows).label
    return { params: decoded, rows, labels, batches: chosenRows(rows, labels, decoded) }
  })

/** What is wrong with a batch of P labels × K images, if anything. */
const batchProblem = (batch: ReadonlyArray<number>, { labels, params, rows }: SampledEpoch, singles: boolean) => {
  const { identities, instances } = params
  if (batch.length !== identities * instances) return `${batch.length} images, expected ${identities} × ${instances}`
  const outlier = batch.find((row) => labels[row]! < 0)
  if (outlier !== undefined) return `image "${rows[outlier]!.image}" is an outlier`
  if (singles) return undefined
  const counts = Map.groupBy(batch, (row) => labels[row]!)
  const uneven = [...counts].find(([, { length }]) => length !== instances)
  return uneven && `label ${uneven[0]} has ${uneven[1].length} images, expected ${instances}`
}

/** Whether a label belongs to one image alone, which shifts the groups of the batches as in the reference's sampler. */
const hasSingles = ({ labels }: SampledEpoch) =>
  [...Map.groupBy(labels, (label) => label)].some(([label, { length }]) => label >= 0 && length === 1)

/** The first difference between a tapped batch and what the sampler and the augmentation give again. */
const tappedProblem = (
  { params, rows, labels }: SampledEpoch,
  chosen: ReadonlyArray<number>,
  iteration: number,
  tapped: Parameters<typeof viewOf<typeof batches.columns>>[1]
): { readonly row?: number; readonly column: string; readonly problem: string } | undefined => {
  const view = viewOf(batches, tapped)
  const { seed, epoch, views, normalisation } = params
  const all = Array.from({ length: views }, () => chosen).flat()
  if (view.image.length !== all.length)
    return { column: "image", problem: `${view.image.length} rows, expected ${all.length}` }
  for (const [row, from] of all.entries()) {
    const expected = { image: rows[from]!.image, label: labels[from]!, camera: rows[from]!.camera }
    for (const column of ["image", "label", "camera"] as const)
      if (view[column][row] !== expected[column])
        return { row, column, problem: `${view[column][row]}, the sampler gives ${expected[column]}` }
  }
  const { height, width } = Result.getOrThrow(metadataOf(batches, tapped, "tap"))
  const memory = new SharedArrayBuffer(view.pixels.byteLength)
  const places = pixelPlaces(chosen.map((row) => rows[row]!.place))
  const job = { views, size: { height, width }, iteration }
  makeBatch({ job: { ...job, augmentation: augmentationOf(params), normalisation, seed, epoch }, places, memory })
  const again = new Float32Array(memory)
  const values = height * width * 3
  const differing = view.pixels.findIndex((value, at) => value !== again[at])
  if (differing < 0) return undefined
  const row = Math.floor(differing / values)
  const found = `value ${differing % values} is ${view.pixels[differing]}, the augmentation gives ${again[differing]}`
  return { row, column: "pixels", problem: found }
}

const checkTapped = (run: OpenRun, file: RecordedFile, sampled: SampledEpoch, findings: Findings) => {
  let at = 0
  return Stream.runForEach(readBatches(batches, placeOf(run, file)), (batch) =>
    Effect.sync(() => {
      const { iteration } = Result.getOrThrow(metadataOf(batches, batch, file.path))
      const chosen = sampled.batches[iteration]
      const wrong = chosen
        ? tappedProblem(sampled, chosen, iteration, batch)
        : { column: "image", problem: "the sampler gives no such batch" }
      if (wrong)
        findings.add({
          file: file.path,
          ...wrong,
          ...(wrong.row === undefined ? {} : { row: at + wrong.row }),
          problem: `iteration ${iteration}: ${wrong.problem}`
        })
      at += batch.numRows
    })
  )
}

export const trainingBatches: Check = {
  name: "batches",
  about: "sampled again, every batch holds P labels × K images and no outlier; tapped batches are these, to the pixel",
  unit: "batches",
  run: (run, findings, tell) => {
    const imagesOf = imageReader(run)
    let [tapped, shifted] = [0, 0]
    return overTasks(run, "augment", findings, tell, (task, record, step) =>
      Effect.gen(function* () {
        const sampled = yield* sampleAgain(run, step, yield* imagesOf(step.inputs.images))
        const metrics = record.outputs["train-metrics"]?.files[0]
        const singles = hasSingles(sampled)
        if (singles) shifted++
        findings.checked += sampled.batches.length
        const labels = inputFiles(run, step.inputs["pseudo-labels"])[0]?.path ?? "manifest.json"
        for (const [iteration, batch] of sampled.batches.entries()) {
          const problem = batchProblem(batch, sampled, singles)
          if (problem)
            findings.add({ file: labels, column: "label", problem: `${task}, iteration ${iteration}: ${problem}` })
        }
        if (metrics && metrics.rows !== sampled.batches.length)
          findings.add({
            file: metrics.path,
            problem: `${metrics.rows} iterations, the sampler gives ${sampled.batches.length} batches`
          })
        const file = run.files.find((one) => one.task === task && one.port === "tap batches")
        if (file === undefined) return
        tapped++
        yield* checkTapped(run, file, sampled, findings)
      })
    ).pipe(
      Effect.andThen(() => {
        const notes = [
          tapped > 0 ? `tapped batches of ${tapped} epochs compared` : "none was tapped, so none could be compared",
          ...(shifted > 0 ? [`clusters of a single image shift the groups of ${shifted} epochs`] : [])
        ]
        findings.note = notes.join("; ")
        return Effect.void
      })
    )
  }
}
