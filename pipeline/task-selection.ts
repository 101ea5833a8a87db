/** Which tasks of a run a command names: `cluster@3`, `baseline/cluster@3`, `decode`, or a task's whole name. */
import { Effect, Runtime, Schema } from "effect"
import { type StageName, stages } from "#pipeline/stages.ts"
import { epochOf, mainAdaptation, type Task } from "#pipeline/task-plan.ts"

/** A stage in an epoch of one phase of a run; without a phase, of the adaptation `mmt`. */
export interface StagePoint {
  readonly phase: string | undefined
  readonly stage: StageName
  readonly epoch: number | undefined
}

/** The run has no such task, or several that one is to be chosen of. */
export class TaskUnknown extends Schema.TaggedError<TaskUnknown>()("TaskUnknown", {
  named: Schema.String,
  problem: Schema.String
}) {
  readonly [Runtime.errorExitCode] = 2
  override get message() {
    return `${this.named}: ${this.problem}`
  }
}

const names = Object.keys(stages) as ReadonlyArray<StageName>
const form = new RegExp(`^(?:(?<phase>[a-z0-9-]+)/)?(?<stage>${names.join("|")})(?:@(?<epoch>[0-9]+))?$`)

/** What `STAGE[@EPOCH]` and `PHASE/STAGE[@EPOCH]` say; undefined for any other text. */
export const stagePoint = (text: string): StagePoint | undefined => {
  const { phase, stage, epoch } = form.exec(text)?.groups ?? {}
  if (stage === undefined) return undefined
  return { phase, stage: stage as StageName, epoch: epoch === undefined ? undefined : Number(epoch) }
}

const has = ({ steps }: Task, stage: StageName) => steps.some((step) => step.stage === stage)

/** The phases that have a stage, each with its first and last epoch: "mmt 1…10, source-only". */
const whereThereIs = (tasks: ReadonlyArray<Task>, stage: StageName) => {
  const phases = Map.groupBy(
    tasks.filter((task) => has(task, stage)),
    ({ phase }) => phase
  )
  return [...phases].map(([phase, of]) => {
    const epochs = of.flatMap(({ id }) => epochOf(id) ?? [])
    const [first, last] = [Math.min(...epochs), Math.max(...epochs)]
    return epochs.length === 0
      ? `${phase}/${stage}`
      : `${phase}/${stage}@${first}${last > first ? ` to ${phase}/${stage}@${last}` : ""}`
  })
}

/** The phase of a point: decoding is no adaptation's own. */
export const phaseOf = ({ phase, stage }: StagePoint) => phase ?? (stage === "decode" ? "decode" : mainAdaptation)

/** All tasks at a point: of `evaluate@3` those of both networks. Fails where there is none, and says what there is. */
export const tasksAt = (tasks: ReadonlyArray<Task>, point: StagePoint, named: string) => {
  const phase = phaseOf(point)
  const found = tasks.filter(
    (task) => task.phase === phase && has(task, point.stage) && epochOf(task.id) === point.epoch
  )
  if (found.length > 0) return Effect.succeed(found)
  const there = whereThereIs(tasks, point.stage)
  const problem = `the run has no such task; of stage ${point.stage} it has ${there.join(", ") || "none"}`
  return Effect.fail(new TaskUnknown({ named, problem }))
}

/** The tasks that a text names: a task's whole name, or all at `STAGE[@EPOCH]`. */
export const selectTasks = (tasks: ReadonlyArray<Task>, text: string) => {
  const exact = tasks.filter(({ id }) => id === text.replace(/\/+$/, ""))
  if (exact.length > 0) return Effect.succeed(exact)
  const point = stagePoint(text)
  if (point) return tasksAt(tasks, point, text)
  const problem = `no task of the run, and no stage: expected STAGE@EPOCH as cluster@3, ADAPTATION/STAGE@EPOCH, or a task as \`mmt plan --all\` lists it; stages are ${names.join(", ")}`
  return Effect.fail(new TaskUnknown({ named: text, problem }))
}
