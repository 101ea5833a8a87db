/** The plan of a run as a graph of its kinds of tasks, each with its time. */
import { planTasks } from "#pipeline/plan.ts"
import { sourcesOf, type Task } from "#pipeline/task-plan.ts"
import { escaped } from "#report/html.ts"
import type { RunData } from "#report/run-data.ts"

/** Tasks of one phase that do the same work in every epoch, for every network and split. */
export interface StageGroup {
  readonly phase: string
  /** The chain of stages. */
  readonly stages: ReadonlyArray<string>
  /** What its outputs are for: the stages that take them. */
  readonly feeds: ReadonlyArray<string>
  readonly tasks: number
  readonly done: number
  readonly seconds: number
  /** Column: one more than those it takes its inputs from. */
  readonly column: number
  /** Groups, by their place in the list, that it takes inputs from and that no other of its inputs leads to. */
  readonly after: ReadonlyArray<number>
}

/** By task, the stages that take its outputs. */
const feedsOf = (tasks: ReadonlyArray<Task>) => {
  const feeds = new Map<string, Set<string>>()
  for (const task of tasks)
    for (const { steps, of } of [{ steps: task.steps, of: sourcesOf(task) }])
      for (const source of of) feeds.set(source.task, (feeds.get(source.task) ?? new Set()).add(steps[0]!.stage))
  return feeds
}

/** The groups in the order of the plan. */
export const stageGroups = ({ config, records }: RunData): ReadonlyArray<StageGroup> => {
  const tasks = planTasks(config)
  const feeds = feedsOf(tasks)
  const keys = new Map<string, number>()
  const groupOf = new Map<string, number>()
  const groups: Array<{ -readonly [K in keyof StageGroup]: StageGroup[K] }> = []
  for (const task of tasks) {
    const stages = task.steps.map(({ stage }) => stage)
    // What decoding feeds differs by split; the decoding does not.
    const own = stages[0] === "embed" ? [...(feeds.get(task.id) ?? [])] : []
    const key = JSON.stringify([task.phase, stages, own])
    const at = keys.get(key) ?? groups.length
    if (at === groups.length) {
      const before = [...new Set(sourcesOf(task).map((source) => groupOf.get(source.task)!))].filter((i) => i !== at)
      const column = Math.max(-1, ...before.map((i) => groups[i]!.column)) + 1
      groups.push({ phase: task.phase, stages, feeds: own, tasks: 0, done: 0, seconds: 0, column, after: before })
      keys.set(key, at)
    }
    groupOf.set(task.id, at)
    const group = groups[at]!
    const record = records.get(task.id)
    group.tasks++
    if (record) group.done++
    group.seconds += record?.seconds ?? 0
  }
  return groups.map((group) => ({ ...group, after: withoutShortcuts(groups, group.after) }))
}

/** Of several groups, those that no other of them comes after. */
const withoutShortcuts = (groups: ReadonlyArray<StageGroup>, after: ReadonlyArray<number>) => {
  const reaches = (from: number, to: number): boolean =>
    groups[from]!.after.some((i) => i === to || (groups[i]!.column > groups[to]!.column && reaches(i, to)))
  return after.filter((to) => !after.some((from) => from !== to && reaches(from, to)))
}

const box = { width: 132, gapX: 34, gapY: 14, line: 15, pad: 8, lane: 26 } as const

interface Box {
  readonly group: StageGroup
  readonly x: number
  readonly y: number
  readonly height: number
}

const heightOf = ({ stages }: StageGroup) => box.pad * 2 + box.line * (stages.length + 1) + 6

/** A lane a phase, in the plan's order; decode and pre-training share the first, since nothing else is in their columns. */
const placed = (groups: ReadonlyArray<StageGroup>) => {
  const phases = [...new Set(groups.map(({ phase }) => phase))]
  const lanes: Array<{ readonly phase: string; readonly y: number; readonly height: number; readonly x: number }> = []
  const boxes: Array<Box> = []
  let y = 0
  for (const phase of phases) {
    const own = groups.filter((group) => group.phase === phase)
    const columns = Map.groupBy(own, ({ column }) => column)
    const height = Math.max(
      ...[...columns.values()].map((stack) => stack.reduce((sum, group) => sum + heightOf(group) + box.gapY, 0))
    )
    const first = Math.min(...columns.keys())
    lanes.push({ phase, y, height: box.lane + height, x: first * (box.width + box.gapX) })
    for (const [column, stack] of columns) {
      let at = y + box.lane
      for (const group of stack) {
        boxes.push({ group, x: column * (box.width + box.gapX), y: at, height: heightOf(group) })
        at += heightOf(group) + box.gapY
      }
    }
    y += box.lane + height + 6
  }
  return { lanes, boxes, height: y }
}

/** Hours, minutes and seconds, as short as can be. */
export const timeText = (seconds: number): string => {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`
  const whole = Math.round(seconds)
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`
}

const boxSvg = ({ group, x, y, height }: Box, total: number) => {
  const { done, seconds, stages, tasks } = group
  const share = total > 0 ? seconds / total : 0
  const texts = stages.map(
    (stage, i) =>
      `<text x="${x + box.pad}" y="${y + box.pad + box.line * (i + 0.8)}" font-weight="600">${i > 0 ? "→ " : ""}${escaped(stage)}</text>`
  )
  const count = done === tasks ? `${tasks} ×` : `${done} of ${tasks} ×`
  const time = `<text x="${x + box.pad}" y="${y + height - 16}" class="quiet">${count} · ${timeText(seconds)}</text>`
  const bar = (width: number, name: string) =>
    `<rect x="${x + box.pad}" y="${y + height - 9}" width="${width.toFixed(1)}" height="4" rx="2" class="${name}"/>`
  const room = box.width - 2 * box.pad
  return `<g class="stage${done === 0 ? " undone" : ""}"><title>${escaped(`${group.phase}: ${stages.join(" → ")}, ${timeText(seconds)}, ${(100 * share).toFixed(0)} % of the time`)}</title><rect x="${x}" y="${y}" width="${box.width}" height="${height}" rx="6" class="box"/>${texts.join("")}${time}${bar(room, "rail")}${bar(room * share, "share")}</g>`
}

/** The graph as SVG: boxes in lanes of phases, from left to right in the order of work; `id` tells it from others of its page. */
export const stageGraphSvg = (id: string, groups: ReadonlyArray<StageGroup>): string => {
  const { boxes, height, lanes } = placed(groups)
  const total = groups.reduce((sum, { seconds }) => sum + seconds, 0)
  const width = (Math.max(...groups.map(({ column }) => column)) + 1) * (box.width + box.gapX) - box.gapX
  const middle = ({ y, height: h }: Box) => y + h / 2
  const edges = boxes.flatMap((to) =>
    to.group.after.map((i) => {
      const from = boxes.find(({ group }) => group === groups[i])!
      const [x1, x2] = [from.x + box.width, to.x]
      const bend = x2 - box.gapX / 2
      return `<path d="M${x1},${middle(from)}H${bend}V${middle(to)}H${x2 - 1}" class="edge" marker-end="url(#${id}-arrow)"/>`
    })
  )
  const names = lanes.map(({ phase, x, y }) => `<text x="${x}" y="${y + 18}" class="lane">${escaped(phase)}</text>`)
  return `<svg role="img" aria-label="Stages of the run with their times. The same is in the table below." viewBox="-2 0 ${width + 4} ${height}" width="${width + 4}" height="${height}" font-size="11.5"><defs><marker id="${id}-arrow" viewBox="0 0 6 6" refX="5" refY="3" markerWidth="6" markerHeight="6" orient="auto"><path d="M0,0L6,3L0,6Z" class="tip"/></marker></defs>${edges.join("")}${names.join("")}${boxes.map((one) => boxSvg(one, total)).join("")}</svg>`
}
