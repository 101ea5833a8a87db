/** The plan of a run: its tasks in the order in which they run, each a chain of stages with where its inputs come from. */
import { resolve } from "node:path"
import { random } from "#data/random.ts"
import type { Adapt, RunConfig } from "#pipeline/run-file.ts"
import type { StageName } from "#pipeline/stages.ts"

/** An output port of a task. */
export interface Source {
  readonly task: string
  readonly port: string
}

/** One stage in a task. A required port that is not named takes what the step before it gives. */
export interface Step {
  readonly stage: StageName
  readonly params: Readonly<Record<string, unknown>>
  /** Parameters of this machine, which do not change what the stage makes: where the data lies. */
  readonly local?: Readonly<Record<string, unknown>>
  readonly inputs: Readonly<Record<string, ReadonlyArray<Source>>>
}

/** What is done, or not, as one: its artifacts are the outputs of its last step, in the folder `id`. */
export interface Task {
  readonly id: string
  /** decode, pretrain, source-only, or the name of an adaptation. */
  readonly phase: string
  readonly steps: ReadonlyArray<Step>
}

/** The adaptation by the run file's `adapt`; every variant goes by its own name. */
export const mainAdaptation = "mmt"

const students = ["student-1", "student-2"] as const
const teachers = ["teacher-1", "teacher-2"] as const

const epochName = (epoch: number) => `epoch-${String(epoch).padStart(3, "0")}`

/** A seed for one part of the run. */
const seedOf = (run: RunConfig, ...part: ReadonlyArray<string | number>) => random(run.seed, ...part).uint32()

const augmentation = ({ flip, pad, erase }: { flip: number; pad: number; erase: number }) => ({ flip, pad, erase })

const decodeTasks = ({ data, folder }: RunConfig): ReadonlyArray<Task> => {
  const task = (domain: "source" | "target", split: string): Task => {
    const { format, root } = data[domain]
    return {
      id: `decode/${domain}-${split}`,
      phase: "decode",
      steps: [
        {
          stage: "decode",
          params: { format, split, height: data.height, width: data.width },
          local: { root: resolve(folder, root) },
          inputs: {}
        }
      ]
    }
  }
  return [task("source", "train"), task("target", "train"), task("target", "query"), task("target", "gallery")]
}

const imagesOf = (name: string): Source => ({ task: `decode/${name}`, port: "images" })
const checkpointOf = (task: string): Source => ({ task, port: "checkpoint" })

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
          schedule: {
            base: pretrain.learningRate,
            warmupEpochs: pretrain.warmupEpochs,
            milestones: pretrain.milestones,
            factor: 0.1
          },
          weightDecay,
          optimizer: "continued",
          ...(epoch === 1 ? { initial: { model, seed } } : {})
        },
        inputs: before
      }
    ]
  }
}

/** Embeds queries and gallery by one network and scores it. */
const evaluationTasks = (
  run: RunConfig,
  phase: string,
  folder: (stage: string) => string,
  network: string,
  checkpoint: Source
): ReadonlyArray<Task> => {
  const embed = (split: string): Task => ({
    id: `${folder("embed")}/${network}-${split}`,
    phase,
    steps: [
      {
        stage: "embed",
        params: { networks: [network] },
        inputs: { images: [imagesOf(`target-${split}`)], checkpoint: [checkpoint] }
      }
    ]
  })
  const { ranks, depth } = run.evaluate
  const embedded = (split: string) => [{ task: embed(split).id, port: "embeddings" }]
  return [
    embed("query"),
    embed("gallery"),
    {
      id: `${folder("evaluate")}/${network}`,
      phase,
      steps: [
        {
          stage: "evaluate",
          params: { ranks, depth },
          inputs: { query: embedded("query"), gallery: embedded("gallery") }
        }
      ]
    }
  ]
}

const isEvaluated = (run: RunConfig, epoch: number, epochs: number) =>
  epoch === epochs || epoch % run.evaluate.every === 0

const lastPretrained = (run: RunConfig, student: string) =>
  checkpointOf(`pretrain/${student}/${epochName(run.pretrain.epochs)}`)

/** Folder of a stage in an adaptation: the main one's at the top, a variant's under its name. */
const folderOf = (adaptation: string, stage: string, epoch: number) =>
  `${adaptation === mainAdaptation ? "" : `${adaptation}/`}${stage}/${epochName(epoch)}`

const adaptationTasks = (run: RunConfig, name: string, adapt: Adapt): ReadonlyArray<Task> =>
  Array.from({ length: adapt.epochs }, (_, i) => epochTasks(run, name, adapt, i + 1)).flat()

/** One epoch: embed, cluster, train with pseudo labels, evaluate. */
const epochTasks = (run: RunConfig, name: string, adapt: Adapt, epoch: number): ReadonlyArray<Task> => {
  const folder = (stage: string) => folderOf(name, stage, epoch)
  const source = (stage: string, port: string): Source => ({ task: folder(stage), port })
  const { iterations, identities, instances, softIdentity, softTriplet, meanTeachers } = adapt
  const { labelSmoothing, tripletMargin, distanceGradient, weightDecay, momentum } = adapt
  // Teachers start as copies of the students, so the students stand for them before the first epoch.
  const clustering = meanTeachers && epoch > 1 ? teachers : students
  const evaluated = meanTeachers ? teachers : students
  const checkpoints =
    epoch === 1
      ? students.map((student) => lastPretrained(run, student))
      : [checkpointOf(folderOf(name, "train", epoch - 1))]
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
        params: {
          algorithm: adapt.algorithm,
          classes: adapt.classes,
          tolerance: adapt.tolerance,
          seed: seedOf(run, "cluster", epoch)
        },
        inputs: { embeddings: [{ task: embed.id, port: "embeddings" }] }
      }
    ]
  }
  const emaUpdate: Step = { stage: "ema-update", params: { students, momentum }, inputs: {} }
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
            labelSmoothing,
            tripletMargin,
            distanceGradient
          },
          schedule: { base: adapt.learningRate, warmupEpochs: 0, milestones: [], factor: 0.1 },
          weightDecay,
          optimizer: "fresh"
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

/** The adaptations of a run by name, the variants first, as they are shown. */
export const adaptations = (run: RunConfig): ReadonlyArray<readonly [name: string, settings: Adapt]> => [
  ...run.variants,
  [mainAdaptation, run.adapt]
]

/** Where the scores of a row of the table lie: one `metrics` task for each of its two networks. */
export interface ScoreRow {
  readonly name: string
  readonly epoch: number
  readonly tasks: ReadonlyArray<string>
}

/** The rows of the score table by epoch: source only, and each adaptation after each evaluated epoch. */
export const scoreRows = (run: RunConfig): ReadonlyArray<ScoreRow> => [
  { name: "source-only", epoch: 0, tasks: students.map((student) => `evaluate/source-only/${student}`) },
  ...adaptations(run).flatMap(([name, { epochs, meanTeachers }]) =>
    Array.from({ length: epochs }, (_, i) => i + 1)
      .filter((epoch) => isEvaluated(run, epoch, epochs))
      .map((epoch) => ({
        name,
        epoch,
        tasks: (meanTeachers ? teachers : students).map((network) => `${folderOf(name, "evaluate", epoch)}/${network}`)
      }))
  )
]

/** All tasks of a run; each comes after those whose outputs it takes. */
export const planTasks = (run: RunConfig): ReadonlyArray<Task> => [
  ...decodeTasks(run),
  ...students.flatMap((student) =>
    Array.from({ length: run.pretrain.epochs }, (_, i) => pretrainTask(run, student, i + 1))
  ),
  ...students.flatMap((student) =>
    evaluationTasks(run, "source-only", (stage) => `${stage}/source-only`, student, lastPretrained(run, student))
  ),
  ...adaptations(run).flatMap(([name, adapt]) => adaptationTasks(run, name, adapt))
]
