/** The plan of a run: its tasks in the order in which they run, and the rows of its score table. */
import { resolve } from "node:path"
import { adaptationTasks } from "#pipeline/adaptation-plan.ts"
import { branchedTasks } from "#pipeline/branch-plan.ts"
import { evaluationTasks, hasTargetLabels, isEvaluated } from "#pipeline/evaluation-plan.ts"
import { isPretrained, startingTasks, startOf } from "#pipeline/pretraining-plan.ts"
import type { RunConfig } from "#pipeline/run-file.ts"
import type { Adapt } from "#pipeline/run-keys.ts"
import { folderOf, mainAdaptation, students, type Task, teachers } from "#pipeline/task-plan.ts"

const decodeTasks = (run: RunConfig): ReadonlyArray<Task> => {
  const { data, folder } = run
  const task = (domain: "source" | "target", split: string): Task => {
    const { root, ...read } = data[domain]!
    return {
      id: `decode/${domain}-${split}`,
      phase: "decode",
      steps: [
        {
          stage: "decode",
          params: { ...read, split, height: data.height, width: data.width },
          local: { root: resolve(folder, root) },
          inputs: {}
        }
      ]
    }
  }
  const source = isPretrained(run) ? [task("source", "train")] : []
  const tests = hasTargetLabels(run) ? [task("target", "query"), task("target", "gallery")] : []
  return [...source, task("target", "train"), ...tests]
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

/** Whether the students know a source when they start, and there are labels to score them by as they are: direct transfer. */
const isTransferScored = (run: RunConfig) =>
  hasTargetLabels(run) && (run.data.source !== undefined || run.pretrain.checkpoints !== undefined)

const sourceOnly: ScoreRow = {
  name: "source-only",
  epoch: 0,
  tasks: students.map((student) => `evaluate/source-only/${student}`)
}

/** The rows that the run's own settings give, be it a branch or not. */
const ownRows = (run: RunConfig): ReadonlyArray<ScoreRow> => [
  ...(isTransferScored(run) ? [sourceOnly] : []),
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

/**
 * The rows of the score table by epoch: source only, where there was one, and each adaptation after each evaluated epoch; none
 * without labels. Those of a branch are of the settings by which their tasks are made.
 */
export const scoreRows = (run: RunConfig): ReadonlyArray<ScoreRow> => {
  if (run.branch === undefined) return ownRows(run)
  const planned = new Set(planTasks(run).map(({ id }) => id))
  const rows = [...scoreRows(run.branch.before), ...ownRows(run)].filter(({ tasks }) =>
    tasks.every((task) => planned.has(task))
  )
  const unique = new Map(rows.map((row) => [row.tasks.join(), row]))
  const names = ["source-only", ...adaptations(run).map(([name]) => name)]
  return names.flatMap((name) => [...unique.values()].filter((row) => row.name === name))
}

const sourceOnlyTasks = (run: RunConfig): ReadonlyArray<Task> =>
  students.flatMap((student) =>
    evaluationTasks(run, "source-only", (stage) => `${stage}/source-only`, student, startOf(run, student))
  )

/** All tasks of a run; each comes after those whose outputs it takes. */
export const planTasks = (run: RunConfig): ReadonlyArray<Task> => {
  const own = [
    ...decodeTasks(run),
    ...startingTasks(run),
    ...(isTransferScored(run) ? sourceOnlyTasks(run) : []),
    ...adaptations(run).flatMap(([name, adapt]) => adaptationTasks(run, name, adapt))
  ]
  return run.branch ? branchedTasks(planTasks(run.branch.before), own, run.branch.point) : own
}
