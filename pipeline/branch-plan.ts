/** The plan of a branch: what comes before its point by the settings of the run that it leaves, the rest by its own. */
import { type BranchPoint, isBefore } from "#pipeline/branch-point.ts"
import type { Task } from "#pipeline/task-plan.ts"

/**
 * Tasks of the run that a branch leaves, as far as the point, then the branch's own. A variant that the branch does not
 * have is left out; one that only the branch has is all its own.
 */
export const branchedTasks = (
  before: ReadonlyArray<Task>,
  own: ReadonlyArray<Task>,
  point: BranchPoint
): ReadonlyArray<Task> => {
  const phasesOf = (tasks: ReadonlyArray<Task>) => new Set(tasks.map(({ phase }) => phase))
  const [known, kept] = [phasesOf(before), phasesOf(own)]
  return [
    ...before.filter((task) => kept.has(task.phase) && isBefore(task, point)),
    ...own.filter((task) => !known.has(task.phase) || !isBefore(task, point))
  ]
}
