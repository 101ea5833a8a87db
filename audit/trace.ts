/** One image through a run: where its pixels lie, its embeddings, its clusters, the batches it was in, its rank lists. */
import { Effect, Schema, Stream } from "effect"
import { imageReader } from "#audit/artifact-readers.ts"
import { sampleAgain } from "#audit/batches-check.ts"
import { inputFiles, type OpenRun, outputFile, placeOf, stepOf } from "#audit/open-run.ts"
import { averagePrecision } from "#audit/rankings-check.ts"
import { type TaskPlace, taskPlace } from "#audit/task-place.ts"
import { readBatches } from "#pipeline/arrow-file.ts"
import { viewOf } from "#schemas/artifact.ts"
import { embeddings } from "#schemas/embeddings.ts"
import { ranking } from "#schemas/metrics.ts"
import { pseudoLabels } from "#schemas/pseudo-labels.ts"

/** No image of the run, or several, go by this name. */
export class ImageUnknown extends Schema.TaggedError<ImageUnknown>()("ImageUnknown", {
  folder: Schema.String,
  image: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `${this.folder}: image "${this.image}": ${this.problem}`
  }
}

interface Ranked {
  readonly rank: number
  readonly distance: number
  readonly match: boolean
}

/** A step of the image's way, in the task that made it. */
type In<A> = TaskPlace & { readonly task: string } & A

export interface ImageTrace {
  readonly image: string
  /** source-train, target-train, target-query or target-gallery. */
  readonly split: string
  readonly person: number
  readonly camera: number
  /** Its shard, and its row there. */
  readonly file: string
  readonly row: number
  readonly embeddings: ReadonlyArray<In<{ readonly norm: number }>>
  readonly clusters: ReadonlyArray<In<{ readonly label: number; readonly images: number }>>
  /** By epoch the iterations whose batch it was in, once for each time. */
  readonly batches: ReadonlyArray<In<{ readonly iterations: ReadonlyArray<number> }>>
  /** As a query: its rank list as it is kept, and its average precision. */
  readonly asQuery: ReadonlyArray<
    In<{
      readonly averagePrecision: number | null
      readonly list: ReadonlyArray<Ranked & { readonly gallery: string }>
    }>
  >
  /** As a gallery image: the queries that list it. */
  readonly asGallery: ReadonlyArray<In<{ readonly queries: ReadonlyArray<Ranked & { readonly query: string }> }>>
}

interface Found {
  readonly image: string
  readonly split: string
  readonly digests: ReadonlyArray<string>
  readonly person: number
  readonly camera: number
  readonly file: string
  readonly row: number
  /** Over all shards. */
  readonly index: number
}

/** The images of this whole name in every split, or else those of the one name that ends so; a split may stand before it. */
const findImage = (run: OpenRun, name: string) =>
  Effect.gen(function* () {
    const imagesOf = imageReader(run)
    const [whole, ending]: [Array<Found>, Array<Found>] = [[], []]
    for (const [task, { outputs }] of run.tasks) {
      const files = outputs.images?.files
      if (files === undefined) continue
      const digests = files.map(({ sha256 }) => sha256)
      let [shard, start] = [0, 0]
      for (const [index, { image, person, camera }] of (yield* imagesOf(digests)).entries()) {
        while (index - start >= files[shard]!.rows) start += files[shard++]!.rows
        const split = taskPlace(task).split!
        if (!`/${split}/${image}`.endsWith(`/${name}`)) continue
        const file = files[shard]!.path
        const found = { image, split, digests, person, camera, file, row: index - start, index }
        if (image === name) whole.push(found)
        else ending.push(found)
      }
    }
    if (whole.length > 0) return whole
    if (new Set(ending.map(({ image }) => image)).size === 1) return ending
    const several = ending.map(({ image, split }) => `${image} (${split})`).slice(0, 5)
    const problem =
      ending.length > 1
        ? `several are called so: ${several.join(", ")}`
        : 'the run has no such image; `mmt sql RUN "select image from images"` lists them'
    return yield* new ImageUnknown({ folder: run.folder, image: name, problem })
  })

const norm = (vector: Float32Array) => Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0))

const sameDigests = (a: ReadonlyArray<string> | undefined, b: ReadonlyArray<string>) => a?.join() === b.join()

const traceEmbeddings = (run: OpenRun, { image, digests }: Found) =>
  Effect.forEach(
    tasksOf(run, "embed", ({ inputs }) => sameDigests(inputs.images, digests)),
    ({ task }) =>
      Effect.gen(function* () {
        const file = outputFile(run, task, "embeddings")
        let own: number | undefined
        if (file)
          yield* Stream.runForEach(readBatches(embeddings, placeOf(run, file)), (batch) =>
            Effect.sync(() => {
              const view = viewOf(embeddings, batch)
              const row = view.image.indexOf(image)
              const width = view.embedding.length / view.image.length
              if (row >= 0) own = norm(view.embedding.subarray(row * width, (row + 1) * width))
            })
          )
        return own === undefined ? [] : [{ task, ...taskPlace(task), norm: own }]
      })
  ).pipe(Effect.map((all) => all.flat()))

type StepOf = NonNullable<ReturnType<typeof stepOf>>

/** The tasks with a stage whose step is wanted. */
const tasksOf = (run: OpenRun, stage: string, wanted: (step: StepOf) => boolean) =>
  [...run.tasks].flatMap(([task, record]) => {
    const step = stepOf(record, stage)
    return step && wanted(step) ? [{ task, step }] : []
  })

const traceClusters = (run: OpenRun, { image }: Found, embedded: ReadonlyArray<{ readonly task: string }>) => {
  const digests = new Set(embedded.map(({ task }) => outputFile(run, task, "embeddings")?.sha256))
  const tasks = tasksOf(run, "cluster", ({ inputs }) => inputs.embeddings!.some((digest) => digests.has(digest)))
  return Effect.forEach(tasks, ({ task }) =>
    Effect.gen(function* () {
      const file = outputFile(run, task, "pseudo-labels")
      const counts = new Map<number, number>()
      let own: number | undefined
      if (file)
        yield* Stream.runForEach(readBatches(pseudoLabels, placeOf(run, file)), (batch) =>
          Effect.sync(() => {
            const view = viewOf(pseudoLabels, batch)
            for (const label of view.label) counts.set(label, (counts.get(label) ?? 0) + 1)
            const row = view.image.indexOf(image)
            if (row >= 0) own = view.label[row]
          })
        )
      return own === undefined ? [] : [{ task, ...taskPlace(task), label: own, images: counts.get(own)! }]
    })
  ).pipe(Effect.map((all) => all.flat()))
}

const traceBatches = (run: OpenRun, { digests, index }: Found) => {
  const imagesOf = imageReader(run)
  return Effect.forEach(
    tasksOf(run, "augment", ({ inputs }) => sameDigests(inputs.images, digests)),
    ({ task, step }) =>
      Effect.gen(function* () {
        const sampled = yield* sampleAgain(run, step, yield* imagesOf(digests))
        const iterations = sampled.batches.flatMap((batch, iteration) =>
          batch.filter((row) => row === index).map(() => iteration)
        )
        return { task, ...taskPlace(task), iterations }
      })
  )
}

/** What a ranking says of the image, as a query or as a gallery image. */
const traceRanking = (run: OpenRun, task: string, image: string, port: "query" | "gallery") =>
  Effect.gen(function* () {
    const file = outputFile(run, task, "ranking")
    const rows: Array<Ranked & { query: string; gallery: string }> = []
    if (file)
      yield* Stream.runForEach(readBatches(ranking, placeOf(run, file)), (batch) =>
        Effect.sync(() => {
          const view = viewOf(ranking, batch)
          for (const [row, name] of view[port].entries())
            if (name === image)
              rows.push({
                query: view.query[row]!,
                gallery: view.gallery[row]!,
                rank: view.rank[row]!,
                distance: view.distance[row]!,
                match: view.match[row]!
              })
        })
      )
    return rows
  })

/** The evaluations that took the image in at a port. */
const evaluationsOf = (run: OpenRun, embedded: ReadonlyArray<{ readonly task: string }>, port: string) => {
  const tasks = new Set(embedded.map(({ task }) => task))
  return tasksOf(run, "evaluate", ({ inputs }) => inputFiles(run, inputs[port]).some(({ task }) => tasks.has(task)))
}

const traceFound = (run: OpenRun, found: Found) =>
  Effect.gen(function* () {
    const embedded = yield* traceEmbeddings(run, found)
    const asQuery = yield* Effect.forEach(evaluationsOf(run, embedded, "query"), ({ task }) =>
      Effect.map(traceRanking(run, task, found.image, "query"), (rows) => {
        const matches = rows.filter(({ match }) => match).map(({ rank }) => rank)
        const list = rows.map(({ query: _, ...rest }) => rest)
        return { task, ...taskPlace(task), averagePrecision: averagePrecision(matches) ?? null, list }
      })
    )
    const asGallery = yield* Effect.forEach(evaluationsOf(run, embedded, "gallery"), ({ task }) =>
      Effect.map(traceRanking(run, task, found.image, "gallery"), (rows) => ({
        task,
        ...taskPlace(task),
        queries: rows.map(({ gallery: _, ...rest }) => rest)
      }))
    )
    const { image, split, person, camera, file, row } = found
    return {
      ...{ image, split, person, camera, file, row },
      embeddings: embedded,
      clusters: yield* traceClusters(run, found, embedded),
      batches: yield* traceBatches(run, found),
      asQuery,
      asGallery
    } satisfies ImageTrace
  })

/**
 * Follows an image through a run by its path below the data set's root, or the end of it where only one image ends so.
 * The same path in source and target gives both; `target-train/…` only the one.
 */
export const traceImage = (run: OpenRun, image: string) =>
  Effect.flatMap(findImage(run, image), (found) => Effect.forEach(found, (one) => traceFound(run, one)))
