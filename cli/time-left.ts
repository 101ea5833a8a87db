/** How long a run still takes, by what its tasks took so far. */
import type { TaskRecord } from "#pipeline/manifest.ts"
import { planTasks, type ScoreRow, scoreRows } from "#pipeline/plan.ts"
import type { RunConfig } from "#pipeline/run-file.ts"
import { mainAdaptation } from "#pipeline/task-plan.ts"

/** What is known of a run before it goes on. */
export interface RunPlan {
  /** In the order of the plan; a kind is the stages of a phase. */
  readonly tasks: ReadonlyArray<{ readonly id: string; readonly kind: string; readonly stages: string }>
  /** By task, how long it took when it was made. */
  readonly seconds: ReadonlyMap<string, number>
  /** By phase, how many epochs it has. */
  readonly epochs: ReadonlyMap<string, number>
  readonly rows: ReadonlyArray<ScoreRow>
}

export const noPlan: RunPlan = { tasks: [], seconds: new Map(), epochs: new Map(), rows: [] }

export const runPlanOf = (config: RunConfig, records: ReadonlyMap<string, TaskRecord>): RunPlan => ({
  tasks: planTasks(config).map(({ id, phase, steps }) => {
    const stages = steps.map(({ stage }) => stage).join(" ")
    // Splits of images are of different sizes.
    const part = /(train|query|gallery)$/.exec(id)?.[1] ?? ""
    return { id, kind: `${phase} ${stages} ${part}`, stages: `${stages} ${part}` }
  }),
  seconds: new Map([...records].map(([id, { seconds }]) => [id, seconds])),
  epochs: new Map([
    ["pretrain", config.pretrain.epochs],
    [mainAdaptation, config.adapt.epochs],
    ...config.variants.map(([name, { epochs }]) => [name, epochs] as const)
  ]),
  rows: scoreRows(config)
})

export interface TimeLeft {
  /** Of the tasks whose kind is known. */
  readonly seconds: number
  /** Tasks of a kind that nothing is known of yet, so that it takes longer. */
  readonly unknown: number
  readonly tasks: number
}

/**
 * The times of tasks, as they come. A task that is still to be made is taken to last as long as those of its kind did on average; where none
 * was made yet, as those of the same stages in other phases.
 */
export const taskTimes = ({ tasks, seconds }: RunPlan) => {
  const kinds = new Map(tasks.map((task) => [task.id, task]))
  const left = new Set(tasks.map(({ id }) => id))
  const known = new Map<string, { sum: number; count: number }>()

  const note = (id: string, took: number) => {
    const task = kinds.get(id)
    for (const key of task ? [task.kind, task.stages] : []) {
      const { sum, count } = known.get(key) ?? { sum: 0, count: 0 }
      known.set(key, { sum: sum + took, count: count + 1 })
    }
  }
  for (const [id, took] of seconds) note(id, took)

  const expected = (id: string): number | undefined => {
    const { kind, stages } = kinds.get(id)!
    const own = known.get(kind) ?? known.get(stages)
    return own && own.sum / own.count
  }

  return {
    done: (id: string, took: number) => {
      left.delete(id)
      note(id, took)
    },
    skipped: (id: string) => {
      left.delete(id)
    },
    /** Of the whole run, while `current` has so many seconds left by its own progress, or was begun so many seconds ago. */
    left: (current: { readonly id: string; readonly began: number; readonly own: number | undefined } | undefined) => {
      let [sum, unknown] = [0, 0]
      for (const id of left) {
        const isCurrent = id === current?.id
        const usual = expected(id)
        const own = isCurrent ? (current.own ?? (usual && Math.max(0, usual - current.began))) : usual
        if (own === undefined) unknown++
        else sum += own
      }
      return { seconds: sum, unknown, tasks: left.size } satisfies TimeLeft
    }
  }
}
