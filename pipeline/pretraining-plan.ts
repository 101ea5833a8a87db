/** The tasks that give the students from which adaptation starts: the supervised pre-training on the source, or files. */
import { resolve } from "node:path"
import type { ModelConfig } from "#model/config.ts"
import { mmtLoss } from "#model/objective.ts"
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

/** Whether the students are trained on the source. */
export const isPretrained = ({ data, pretrain }: RunConfig): boolean =>
  data.source !== undefined && pretrain.checkpoints === undefined

/** The checkpoint file that a student starts from, if the run file names one, as the run file names it. */
export const weightsFileOf = ({ model, pretrain }: RunConfig, student: (typeof students)[number]): string | undefined =>
  pretrain.checkpoints?.[students.indexOf(student)] ?? model.weights

/** The architecture of a run's networks. */
export const architectureOf = ({ model: { weights: _, ...architecture } }: RunConfig): ModelConfig => architecture

/** What a train-step that makes a new student needs to know: its architecture and seed, and the file of its weights. */
const newStudent = (run: RunConfig, student: (typeof students)[number]) => {
  const weights = weightsFileOf(run, student)
  return {
    params: { initial: { model: architectureOf(run), seed: seedOf(run, "pretrain", student) } },
    local: weights === undefined ? {} : { weights: [resolve(run.folder, weights)] }
  }
}

const supervised = { identity: 1, triplet: 1, softIdentity: 0, softTriplet: 0 }

/** A student that adaptation starts from without pre-training: of a file, or drawn. */
const startTask = (run: RunConfig, student: (typeof students)[number]): Task => {
  const { params, local } = newStudent(run, student)
  return {
    id: `start/${student}`,
    phase: "start",
    steps: [
      {
        stage: "train-step",
        // Nothing is learnt in it, but its losses may not ask for mean teachers.
        params: { ...params, students: [student], meanTeachers: false, loss: { ...mmtLoss, weights: supervised } },
        local,
        inputs: { batches: [] }
      }
    ]
  }
}

const pretrainTask = (run: RunConfig, student: (typeof students)[number], epoch: number): Task => {
  const { pretrain } = run
  const { iterations, identities, instances, labelSmoothing, tripletMargin, weightDecay } = pretrain
  const seed = seedOf(run, "pretrain", student)
  const start = epoch === 1 ? newStudent(run, student) : { params: {}, local: {} }
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
            weights: { ...supervised, triplet: pretrain.triplet },
            labelSmoothing,
            tripletMargin,
            distanceGradient: "full"
          },
          schedule: scheduleOf(pretrain),
          weightDecay,
          optimizer: "continued",
          ...dropoutSeed(run.model, seed),
          ...start.params
        },
        local: start.local,
        inputs: before
      }
    ]
  }
}

/** Where a student comes from that starts to adapt. */
export const startOf = (run: RunConfig, student: string) =>
  checkpointOf(isPretrained(run) ? `pretrain/${student}/${epochName(run.pretrain.epochs)}` : `start/${student}`)

export const startingTasks = (run: RunConfig): ReadonlyArray<Task> =>
  students.flatMap((student) =>
    isPretrained(run)
      ? Array.from({ length: run.pretrain.epochs }, (_, i) => pretrainTask(run, student, i + 1))
      : [startTask(run, student)]
  )
