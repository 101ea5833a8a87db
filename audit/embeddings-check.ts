/** Checks of what was made of the images: embeddings, pseudo labels, centroids. */
import { Effect, Stream } from "effect"
import { imageReader, readLabels } from "#audit/artifact-readers.ts"
import { type Check, type Findings, overTasks } from "#audit/check.ts"
import { inputFiles, type OpenRun, outputFile, placeOf, type RecordedFile, stepOf } from "#audit/open-run.ts"
import type { ImageRow } from "#data/image-rows.ts"
import { readBatches } from "#pipeline/arrow-file.ts"
import { viewOf } from "#schemas/artifact.ts"
import { embeddings } from "#schemas/embeddings.ts"
import { centroids } from "#schemas/pseudo-labels.ts"

/** Rounding of a float32 vector of a few thousand values. */
const normTolerance = 1e-5

const firstNotFinite = (values: Float32Array) => {
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i])) return i
  return -1
}

/** What is wrong with a vector that should have norm 1, if anything. */
const vectorProblem = (vector: Float32Array): string | undefined => {
  const wrong = firstNotFinite(vector)
  if (wrong >= 0) return `value ${wrong} is ${vector[wrong]}, expected finite numbers`
  let squares = 0
  for (let i = 0; i < vector.length; i++) squares += vector[i]! * vector[i]!
  const norm = Math.sqrt(squares)
  return Math.abs(norm - 1) <= normTolerance ? undefined : `norm ${norm.toPrecision(7)}, expected 1`
}

const checkEmbeddings = (run: OpenRun, file: RecordedFile, images: ReadonlyArray<ImageRow>, findings: Findings) => {
  let at = 0
  return Effect.andThen(
    Stream.runForEach(readBatches(embeddings, placeOf(run, file)), (batch) =>
      Effect.sync(() => {
        const { image, person, camera, embedding } = viewOf(embeddings, batch)
        const width = embedding.length / image.length
        for (const [row, name] of image.entries()) {
          const wrong = (column: string, problem: string) =>
            findings.add({ file: file.path, row: at, column, problem: `image "${name}": ${problem}` })
          const expected = images[at]
          if (expected?.image !== name) wrong("image", `row ${at} of the images is "${expected?.image}"`)
          else if (expected.person !== person[row]) wrong("person", `${person[row]}, the image's is ${expected.person}`)
          else if (expected.camera !== camera[row]) wrong("camera", `${camera[row]}, the image's is ${expected.camera}`)
          const problem = vectorProblem(embedding.subarray(row * width, (row + 1) * width))
          if (problem !== undefined) wrong("embedding", problem)
          findings.checked++
          at++
        }
      })
    ),
    () => {
      if (at < images.length) findings.add({ file: file.path, problem: `${at} rows for ${images.length} images` })
      return Effect.void
    }
  )
}

export const embeddingNorms: Check = {
  name: "embeddings",
  about: "every image has one embedding, finite and of norm 1",
  unit: "embeddings",
  run: (run, findings, tell) => {
    const imagesOf = imageReader(run)
    return overTasks(run, "embed", findings, tell, (task, _, { inputs }) =>
      Effect.gen(function* () {
        const file = outputFile(run, task, "embeddings")
        if (file) yield* checkEmbeddings(run, file, yield* imagesOf(inputs.images), findings)
      })
    )
  }
}

const checkLabels = (
  file: RecordedFile,
  labels: ReadonlyMap<string, number>,
  images: ReadonlyArray<ImageRow>,
  sizes: ReadonlyArray<number>,
  findings: Findings
) => {
  const wrong = (row: number, column: string, problem: string) =>
    findings.add({ file: file.path, row, column, problem })
  const expected = new Set(images.map(({ image }) => image))
  for (const [row, [image, label]] of [...labels].entries()) {
    findings.checked++
    if (!expected.has(image)) wrong(row, "image", `image "${image}" is no training image`)
    if (label < -1 || label >= sizes.length)
      wrong(row, "label", `image "${image}" has label ${label}, expected −1 (an outlier) or 0 … ${sizes.length - 1}`)
  }
  for (const { image } of images)
    if (!labels.has(image))
      findings.add({ file: file.path, column: "image", problem: `image "${image}" has no pseudo label` })
}

/** Cluster sizes by label, as the centroids' file says. */
const readSizes = (run: OpenRun, file: RecordedFile, findings: Findings) =>
  Effect.gen(function* () {
    const sizes: Array<number> = []
    yield* Stream.runForEach(readBatches(centroids, placeOf(run, file)), (batch) =>
      Effect.sync(() => {
        const { label, size, centroid } = viewOf(centroids, batch)
        for (const [row, at] of label.entries()) {
          const problem = at !== sizes.length ? `label ${at}, expected ${sizes.length}` : undefined
          if (problem) findings.add({ file: file.path, row: sizes.length, column: "label", problem })
          sizes.push(size[row]!)
        }
        const wrong = firstNotFinite(centroid)
        const row = Math.floor(wrong / (centroid.length / label.length))
        if (wrong >= 0) findings.add({ file: file.path, row, column: "centroid", problem: `holds ${centroid[wrong]}` })
      })
    )
    return sizes
  })

export const labels: Check = {
  name: "pseudo labels",
  about: "every training image has exactly one, of a cluster or −1, and the clusters' sizes are theirs",
  unit: "labels",
  run: (run, findings, tell) => {
    const imagesOf = imageReader(run)
    return overTasks(run, "cluster", findings, tell, (task, _, { inputs }) =>
      Effect.gen(function* () {
        const [file, summary] = ["pseudo-labels", "centroids"].map((port) => outputFile(run, task, port))
        const embedded = inputFiles(run, inputs.embeddings)[0]
        if (!file || !summary || !embedded) return
        const images = yield* imagesOf(stepOf(run.tasks.get(embedded.task)!, "embed")?.inputs.images)
        const of = yield* readLabels(run, file, findings)
        const sizes = yield* readSizes(run, summary, findings)
        checkLabels(file, of, images, sizes, findings)
        const counts = new Int32Array(sizes.length)
        for (const label of of.values()) if (label >= 0 && label < counts.length) counts[label]!++
        for (const [row, size] of sizes.entries())
          if (size !== counts[row])
            findings.add({
              file: summary.path,
              row,
              column: "size",
              problem: `${size}, ${counts[row]} images have its label`
            })
      })
    )
  }
}
