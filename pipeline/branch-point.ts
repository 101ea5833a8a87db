/** The point of a run at which a branch leaves it, and what comes before. */
import type { StageName } from "#pipeline/stages.ts"
import { epochOf, mainAdaptation, type Task } from "#pipeline/task-plan.ts"
import { type StagePoint, stagePoint } from "#pipeline/task-selection.ts"

/** A stage in an epoch: of the pre-training, of one adaptation, or, without a phase, of every adaptation. */
export interface BranchPoint extends StagePoint {
  readonly epoch: number
}

/** The point that a text names: `cluster@3`, `baseline/cluster@3`, `pretrain/train-step@5`. Undefined for any other. */
export const branchPoint = (text: string): BranchPoint | undefined => {
  const point = stagePoint(text)
  if (point?.epoch === undefined || point.stage === "decode" || point.epoch < 1) return undefined
  return { ...point, epoch: point.epoch }
}

/** Whether a point lies in the pre-training, which all adaptations follow. */
export const inPretraining = ({ phase }: BranchPoint) => phase === "pretrain"

/** Within an epoch: embedding and clustering, training, scoring. */
const ranks: Readonly<Record<StageName, number>> = {
  decode: 0,
  embed: 1,
  cluster: 2,
  augment: 3,
  "train-step": 3,
  "ema-update": 3,
  evaluate: 4
}

/** Queries and gallery are embedded for the scores. */
const rankOf = ({ id, steps }: Task) => ranks[/-(query|gallery)$/.test(id) ? "evaluate" : steps[0]!.stage]

const phases = ["decode", "pretrain", "adaptation"] as const

const phaseRank = (phase: string) => {
  if (phase === "start") return phases.indexOf("pretrain")
  const own = phases.indexOf(phase as "decode")
  return own < 0 ? phases.indexOf("adaptation") : own
}

/** Whether a task comes before a point, so that it stays by the settings of the run that the branch leaves. */
export const isBefore = (task: Task, point: BranchPoint): boolean => {
  const phase = point.phase ?? mainAdaptation
  const others = phaseRank(phase) === phases.indexOf("adaptation") && point.phase !== undefined && task.phase !== phase
  // A branch of one adaptation leaves the others as they are.
  if (others && phaseRank(task.phase) === phaseRank(phase)) return true
  const places = [
    [phaseRank(task.phase), phaseRank(phase)],
    [epochOf(task.id) ?? 0, point.epoch],
    [rankOf(task), ranks[point.stage]]
  ] as const
  const [own, other] = places.find(([a, b]) => a !== b) ?? [0, 0]
  return own < other
}
