/**
 * augment: labelled images → training batches. The identity sampler chooses the rows, a pool of worker threads reads
 * and augments them ahead of the training.
 */
import type { RecordBatch } from "apache-arrow"
import { Effect, Fiber, Schema, Stream } from "effect"
import { imagenetNormalisation } from "#data/augmentation.ts"
import { AugmentationPool } from "#data/augmentation-pool.ts"
import { Augmentation, Normalisation } from "#data/augmentation-settings.ts"
import { sampleBatches } from "#data/identity-sampler.ts"
import { type ImageRow, imageRows } from "#data/image-rows.ts"
import { type Inlet, optionalPort, port, stage } from "#pipeline/stage.ts"
import { batchOf, viewOf } from "#schemas/artifact.ts"
import { batches } from "#schemas/batches.ts"
import { images } from "#schemas/images.ts"
import { pseudoLabels } from "#schemas/pseudo-labels.ts"

const PositiveInt = Schema.Int.check(Schema.isGreaterThan(0))

export const AugmentParams = Schema.Struct({
  seed: Schema.Int.pipe(Schema.withDecodingDefaultKey(Effect.succeed(1))),
  /** Part of the address of every random number, so that epochs differ. */
  epoch: Schema.Int.pipe(Schema.withDecodingDefaultKey(Effect.succeed(1))),
  iterations: PositiveInt.pipe(Schema.withDecodingDefaultKey(Effect.succeed(400))),
  /** Batches before this iteration are passed over, for a training that goes on within its epoch. */
  firstIteration: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)).pipe(
    Schema.withDecodingDefaultKey(Effect.succeed(0))
  ),
  /** P identities × K instances make a batch. */
  identities: PositiveInt.pipe(Schema.withDecodingDefaultKey(Effect.succeed(16))),
  instances: PositiveInt.pipe(Schema.withDecodingDefaultKey(Effect.succeed(4))),
  /** Independent augmentations of each image: one for each pair of student and teacher. */
  views: PositiveInt.pipe(Schema.withDecodingDefaultKey(Effect.succeed(2))),
  flip: Augmentation.fields.flip.pipe(Schema.withDecodingDefaultKey(Effect.succeed(0.5))),
  pad: Augmentation.fields.pad.pipe(Schema.withDecodingDefaultKey(Effect.succeed(10))),
  erase: Augmentation.fields.erase.pipe(Schema.withDecodingDefaultKey(Effect.succeed(0.5))),
  colorJitter: Augmentation.fields.colorJitter,
  blur: Augmentation.fields.blur,
  normalisation: Normalisation.pipe(Schema.withDecodingDefaultKey(Effect.succeed(imagenetNormalisation)))
})

/** The labels do not fit the images, or there are too few of them to fill a batch. */
export class LabelsUnusable extends Schema.TaggedError<LabelsUnusable>()("LabelsUnusable", {
  source: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `${this.source}: ${this.problem}`
  }
}

interface Labels {
  readonly label: ReadonlyArray<number>
  readonly classes: number
}

/** Identities in ascending order are the classes; unknown people (−1) take no part. */
export const labelsOfPersons = (rows: ReadonlyArray<ImageRow>): Labels => {
  const persons = [...new Set(rows.map(({ person }) => person))].filter((person) => person >= 0).sort((a, b) => a - b)
  const classOf = new Map(persons.map((person, label) => [person, label]))
  return { label: rows.map(({ person }) => classOf.get(person) ?? -1), classes: persons.length }
}

/** Every image has exactly one pseudo label, found by the image's name. */
const pseudoLabelsOf = (rows: ReadonlyArray<ImageRow>, inlet: Inlet<typeof pseudoLabels>) =>
  Effect.gen(function* () {
    const labelOf = new Map<string, number>()
    yield* Stream.runForEach(inlet.batches, (batch) => {
      const { image, label } = viewOf(pseudoLabels, batch)
      const twice = image.find((name) => labelOf.has(name))
      for (const [row, name] of image.entries()) labelOf.set(name, label[row]!)
      return twice === undefined
        ? Effect.void
        : Effect.fail(new LabelsUnusable({ source: inlet.source, problem: `image "${twice}" has two pseudo labels` }))
    })
    const missing = rows.find(({ image }) => !labelOf.has(image))
    if (missing !== undefined) {
      const problem = `image "${missing.image}" has no pseudo label; run the cluster stage on these images`
      return yield* new LabelsUnusable({ source: inlet.source, problem })
    }
    const label = rows.map(({ image }) => labelOf.get(image)!)
    return { label, classes: label.reduce((a, b) => Math.max(a, b), -1) + 1 } satisfies Labels
  })

/** How each view of an image is augmented. */
export const augmentationOf = ({ flip, pad, erase, colorJitter, blur }: typeof AugmentParams.Type) => ({
  flip,
  pad,
  erase,
  ...(colorJitter && { colorJitter }),
  ...(blur && { blur })
})

/** The rows of each batch of an epoch. */
export const chosenRows = (
  rows: ReadonlyArray<Pick<ImageRow, "camera">>,
  labels: ReadonlyArray<number>,
  { seed, epoch, identities, instances, iterations }: typeof AugmentParams.Type
): ReadonlyArray<ReadonlyArray<number>> => {
  const cameras = rows.map(({ camera }) => camera)
  const batchSize = identities * instances
  return Array.from(sampleBatches({ labels, cameras, instances, batchSize, seed, epoch }).take(iterations))
}

export const augmentStage = stage({
  name: "augment",
  version: 1,
  summary: "samples identity-balanced batches and augments each image once for each view",
  params: AugmentParams,
  inputs: {
    images: port(images, "decoded training images"),
    "pseudo-labels": optionalPort(pseudoLabels, "clusters as labels; without it, the images' own identities")
  },
  outputs: { batches: port(batches, "one record batch an iteration") },
  run: (inputs, params) =>
    Effect.gen(function* () {
      const pool = yield* AugmentationPool
      const { height, width, rows } = yield* imageRows(inputs.images.files)
      const inlet = inputs["pseudo-labels"]
      const { label, classes } = inlet ? yield* pseudoLabelsOf(rows, inlet) : labelsOfPersons(rows)
      const { seed, epoch, identities, instances, views, normalisation } = params
      const augmentation = augmentationOf(params)
      const chosen = chosenRows(rows, label, params)
      if (chosen.length === 0) {
        const source = inlet?.source ?? inputs.images.source
        const known = new Set(label.filter((l) => l >= 0)).size
        const problem = `${known} identities do not fill a batch of ${identities} × ${instances} images; choose fewer identities a batch, or settings that give more clusters (classes of k-means; eps, k1, minSamples of DBSCAN)`
        return yield* new LabelsUnusable({ source, problem })
      }
      const make = (batch: ReadonlyArray<number>, iteration: number) =>
        Effect.map(
          pool.run({
            places: batch.map((row) => rows[row]!.place),
            views,
            size: { height, width },
            augmentation,
            normalisation,
            seed,
            epoch,
            iteration
          }),
          (pixels): RecordBatch => {
            const all = Array.from({ length: views }, () => batch).flat()
            return batchOf(
              batches,
              {
                image: all.map((row) => rows[row]!.image),
                label: Int32Array.from(all, (row) => label[row]!),
                camera: Int32Array.from(all, (row) => rows[row]!.camera),
                view: Int8Array.from(all, (_, i) => Math.floor(i / batch.length)),
                pixels
              },
              { height, width, classes, epoch, iteration: 0 },
              { perBatch: { iteration: String(iteration) } }
            )
          }
        )
      const made = Stream.fromIterable(chosen.entries().drop(params.firstIteration)).pipe(
        Stream.rechunk(1),
        // As many batches under way as there are threads, and one made ahead: what bounds the memory.
        // Whoever took a batch goes on with it first: the next one is asked for while the networks train.
        Stream.mapEffect(([iteration, batch]) => Effect.andThen(Effect.yieldNow, make(batch, iteration)), {
          concurrency: pool.threads + 1
        }),
        Stream.bufferArray({ capacity: 1 })
      )
      // The first batch is made while the training loads its networks.
      const pull = yield* Stream.toPull(made)
      const first = yield* Effect.forkScoped(pull)
      let isFirst = true
      const next = Effect.suspend(() => {
        if (!isFirst) return pull
        isFirst = false
        return Fiber.join(first)
      })
      return { batches: Stream.fromPull(Effect.succeed(next)) }
    })
})
