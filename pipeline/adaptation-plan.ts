/** The tasks of an adaptation to the target: each epoch embeds, clusters, trains with pseudo labels and evaluates. */
import { evaluationTasks, isEvaluated } from "#pipeline/evaluation-plan.ts"
import { startOf } from "#pipeline/pretraining-plan.ts"
import type { RunConfig } from "#pipeline/run-file.ts"
import type { Adapt } from "#pipeline/run-keys.ts"
import {
  augmentation,
  checkpointOf,
  dropoutSeed,
  folderOf,
  imagesOf,
  type Source,
  type Step,
  scheduleOf,
  seedOf,
  students,
  type Task,
  teachers
} from "#pipeline/task-plan.ts"

export const adaptationTasks = (run: RunConfig, name: string, adapt: Adapt): ReadonlyArray<Task> =>
  Array.from({ length: adapt.epochs }, (_, i) => epochTasks(run, name, adapt, i + 1)).flat()

/** What the algorithm of an adaptation goes by. */
const clusterParams = (run: RunConfig, adapt: Adapt, epoch: number): Step["params"] => {
  const { algorithm, classes, tolerance, eps, minSamples, k1, k2, encoding, epsGap } = adapt
  return algorithm === "kmeans"
    ? { algorithm, classes, tolerance, seed: seedOf(run, "cluster", epoch) }
    : { algorithm, eps, minSamples, k1, k2, encoding, epsGap }
}

/** The first epoch's pseudo labels, where the later ones keep what DBSCAN found in it. */
const firstClusters = (name: string, { algorithm, eps, epsGap }: Adapt, epoch: number): Step["inputs"] =>
  algorithm === "dbscan" && (eps === "auto" || epsGap > 0) && epoch > 1
    ? { "first-pseudo-labels": [{ task: folderOf(name, "cluster", 1), port: "pseudo-labels" }] }
    : {}

/** One epoch: embed, cluster, train with pseudo labels, evaluate. */
const epochTasks = (run: RunConfig, name: string, adapt: Adapt, epoch: number): ReadonlyArray<Task> => {
  const folder = (stage: string) => folderOf(name, stage, epoch)
  const source = (stage: string, port: string): Source => ({ task: folder(stage), port })
  const { iterations, identities, instances, softIdentity, softTriplet, meanTeachers } = adapt
  const { softLabels, labelSmoothing, tripletMargin, distanceGradient, weightDecay, momentum } = adapt
  // Teachers start as copies of the students, so the students stand for them before the first epoch.
  const clustering = meanTeachers && epoch > 1 ? teachers : students
  const evaluated = meanTeachers ? teachers : students
  const checkpoints =
    epoch === 1 ? students.map((student) => startOf(run, student)) : [checkpointOf(folderOf(name, "train", epoch - 1))]
  const embed: Task = {
    id: `${folder("embed")}/target-train`,
    phase: name,
    steps: [
      {
        stage: "embed",
        params: { networks: clustering },
        inputs: { images: [imagesOf("target-train")], checkpoint: checkpoints }
      }
    ]
  }
  const cluster: Task = {
    id: folder("cluster"),
    phase: name,
    steps: [
      {
        stage: "cluster",
        params: clusterParams(run, adapt, epoch),
        inputs: { embeddings: [{ task: embed.id, port: "embeddings" }], ...firstClusters(name, adapt, epoch) }
      }
    ]
  }
  const emaUpdate: Step = {
    stage: "ema-update",
    params: { students, momentum, warmup: adapt.momentumWarmup, when: adapt.teacherUpdate },
    inputs: {}
  }
  const train: Task = {
    id: folder("train"),
    phase: name,
    steps: [
      {
        stage: "augment",
        params: {
          seed: seedOf(run, "adapt"),
          epoch,
          iterations,
          identities,
          instances,
          views: 2,
          ...augmentation(adapt)
        },
        inputs: { images: [imagesOf("target-train")], "pseudo-labels": [source("cluster", "pseudo-labels")] }
      },
      {
        stage: "train-step",
        params: {
          epoch,
          iterations,
          students,
          meanTeachers,
          loss: {
            weights: { identity: 1 - softIdentity, triplet: 1 - softTriplet, softIdentity, softTriplet },
            softLabels,
            labelSmoothing,
            tripletMargin,
            distanceGradient
          },
          schedule: scheduleOf(adapt),
          weightDecay,
          optimizer: "fresh",
          ...dropoutSeed(run.model, seedOf(run, "adapt"))
        },
        inputs: { checkpoint: checkpoints, centroids: [source("cluster", "centroids")] }
      },
      ...(meanTeachers ? [emaUpdate] : [])
    ]
  }
  const evaluations = isEvaluated(run, epoch, adapt.epochs)
    ? evaluated.flatMap((network) => evaluationTasks(run, name, folder, network, checkpointOf(train.id)))
    : []
  return [embed, cluster, train, ...evaluations]
}
