/** The tasks of the supervised pre-training on the source: one an epoch and student. */
import type { RunConfig } from "#pipeline/run-file.ts"
import {
  augmentation,
  checkpointOf,
  dropoutSeed,
  epochName,
  imagesOf,
  scheduleOf,
  seedOf,
  students,
  type Task
} from "#pipeline/task-plan.ts"

const pretrainTask = (run: RunConfig, student: string, epoch: number): Task => {
  const { pretrain, model } = run
  const { iterations, identities, instances, labelSmoothing, tripletMargin, weightDecay } = pretrain
  const seed = seedOf(run, "pretrain", student)
  const before = epoch === 1 ? {} : { checkpoint: [checkpointOf(`pretrain/${student}/${epochName(epoch - 1)}`)] }
  return {
    id: `pretrain/${student}/${epochName(epoch)}`,
    phase: "pretrain",
    steps: [
      {
        stage: "augment",
        params: { seed, epoch, iterations, identities, instances, views: 1, ...augmentation(pretrain) },
        inputs: { images: [imagesOf("source-train")] }
      },
      {
        stage: "train-step",
        params: {
          epoch,
          iterations,
          students: [student],
          meanTeachers: false,
          loss: {
            weights: { identity: 1, triplet: pretrain.triplet, softIdentity: 0, softTriplet: 0 },
            labelSmoothing,
            tripletMargin,
            distanceGradient: "full"
          },
          schedule: scheduleOf(pretrain),
          weightDecay,
          optimizer: "continued",
          ...dropoutSeed(model, seed),
          ...(epoch === 1 ? { initial: { model, seed } } : {})
        },
        inputs: before
      }
    ]
  }
}

/** Where a student comes from that starts to adapt. */
export const lastPretrained = (run: RunConfig, student: string) =>
  checkpointOf(`pretrain/${student}/${epochName(run.pretrain.epochs)}`)

export const pretrainingTasks = (run: RunConfig): ReadonlyArray<Task> =>
  students.flatMap((student) =>
    Array.from({ length: run.pretrain.epochs }, (_, i) => pretrainTask(run, student, i + 1))
  )
