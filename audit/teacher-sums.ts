/** The weighted sums of the networks' parameters at the start and the end of an epoch, from its checkpoints and centroids. */
import { Effect, Stream } from "effect"
import { inputFiles, type OpenRun, placeOf, type RecordedFile } from "#audit/open-run.ts"
import { teacherOf } from "#model/mean-teacher.ts"
import { type ParameterSum, parameterSum } from "#model/parameter-sums.ts"
import { inletOf, readBatches } from "#pipeline/arrow-file.ts"
import type { StepRecord } from "#pipeline/manifest.ts"
import { type ArtifactError, ArtifactUnreadable, metadataOf, viewOf } from "#schemas/artifact.ts"
import { checkpoint } from "#schemas/checkpoint.ts"
import { centroids } from "#schemas/pseudo-labels.ts"
import { classifierFrom } from "#stages/train-step.ts"

const classifier = "classifier.weight"

/** A tensor in a checkpoint: the file and row that it is in, and its sum. */
export interface Summed extends ParameterSum {
  readonly file: string
  readonly row: number
}

/** Of a checkpoint the sums by `network/name`, and how many updates its teachers have seen. */
export interface CheckpointSums {
  readonly sums: ReadonlyMap<string, Summed>
  readonly updates: number
}

const readSums = (run: OpenRun, file: RecordedFile) =>
  Effect.gen(function* () {
    const sums = new Map<string, Summed>()
    let at = 0
    let updates = 0
    yield* Stream.runForEach(readBatches(checkpoint, placeOf(run, file)), (batch) =>
      Effect.gen(function* () {
        const view = viewOf(checkpoint, batch)
        updates = (yield* Effect.fromResult(metadataOf(checkpoint, batch, file.path))).teacherStep ?? 0
        for (const [row, network] of view.network.entries()) {
          const name = view.name[row]!
          if (view.dtype[row] === "float32" && !name.startsWith("adam.")) {
            const values = new Float32Array(view.data[row]!.slice().buffer)
            sums.set(`${network}/${name}`, {
              ...parameterSum(name, view.shape[row]!, values),
              file: file.path,
              row: at
            })
          }
          at++
        }
      })
    )
    return { sums, updates } satisfies CheckpointSums
  })

/** Reads the sums of checkpoints; the end of an epoch is the start of the next, and read once. */
export const sumsReader = (run: OpenRun) => {
  const known = new Map<string, CheckpointSums>()
  return (file: RecordedFile): Effect.Effect<CheckpointSums, ArtifactError> =>
    Effect.gen(function* () {
      const read = known.get(file.path) ?? (yield* readSums(run, file))
      known.set(file.path, read)
      return read
    })
}

/** `student-1/NAME` as the teacher's. */
export const teacherKey = (key: string) => {
  const at = key.indexOf("/")
  return teacherOf(key.slice(0, at)) + key.slice(at)
}

/** The sum of the classifier that an epoch starts with: its clusters' normalised centroids. */
const classifierSum = (run: OpenRun, file: RecordedFile) =>
  classifierFrom(inletOf(centroids, [placeOf(run, file)])).pipe(
    Effect.catchTags({
      BatchUnusable: ({ problem, source }) =>
        Effect.fail(new ArtifactUnreadable({ artifact: centroids.name, source, problem })),
      UpstreamFailed: Effect.die
    }),
    Effect.map(({ weights, width }): Summed => {
      const sum = parameterSum(classifier, [weights.length / width, width], weights)
      return { ...sum, file: file.path, row: 0 }
    })
  )

/** Sums of the teachers as an epoch starts, by `teacher/name`. One that is not there yet starts as a copy of its student. */
export const startSums = (run: OpenRun, { inputs }: StepRecord, read: ReturnType<typeof sumsReader>) =>
  Effect.gen(function* () {
    const before = yield* Effect.forEach(inputFiles(run, inputs.checkpoint), read)
    const all = new Map(before.flatMap(({ sums }) => [...sums]))
    const start = new Map([...all].map(([key, sum]) => [teacherKey(key), all.get(teacherKey(key)) ?? sum]))
    const file = inputFiles(run, inputs.centroids)[0]
    const renewed = file && (yield* classifierSum(run, file))
    for (const key of renewed ? start.keys() : []) if (key.endsWith(`/${classifier}`)) start.set(key, renewed!)
    return { start, updates: before[0]?.updates ?? 0 }
  })
