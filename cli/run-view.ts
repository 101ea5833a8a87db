/**
 * What a person sees of a run while it goes, on stderr: on a terminal a few lines that are drawn over again, below those that
 * stay; elsewhere lines with the time. Lines that stay are those of each phase, training and score.
 */
import { styleText } from "node:util"
import { type BlockLine, liveBlock, type Terminal } from "#cli/live-block.ts"
import { count, duration } from "#cli/progress.ts"
import { columnsOf, printable, wrapped } from "#cli/terminal-text.ts"
import { noPlan, type RunPlan, taskTimes } from "#cli/time-left.ts"
import { trainingSoFar } from "#cli/training-so-far.ts"
import type { RunEvent } from "#pipeline/events.ts"
import { meanScores, type Scores } from "#pipeline/score.ts"

/** Where a run is shown; `process.stderr` is one. */
export interface ViewStream extends Terminal {
  readonly isTTY?: boolean
  readonly hasColors?: () => boolean
}

export interface ViewOptions {
  readonly plan?: RunPlan
  readonly stream?: ViewStream
  /** Milliseconds. */
  readonly now?: () => number
  readonly terminalType?: string | undefined
}

/** Names of tensors that a line shows. */
const mostNames = 4

const everyMillis = { terminal: 100, plain: 10_000 } as const

const named = (names: ReadonlyArray<string>) =>
  names.length > mostNames
    ? `${names.slice(0, mostNames).join(", ")} and ${names.length - mostNames} more`
    : names.join(", ")

const weightsLine = ({ student, file, tensors, initial, leftOut }: Extract<RunEvent, { type: "weights" }>) =>
  [
    `${student} starts with ${count(tensors)} tensors of ${file}`,
    ...(initial.length > 0 ? [`not in it, so new: ${named(initial)}`] : []),
    ...(leftOut.length > 0 ? [`left out: ${named(leftOut)}`] : [])
  ].join("; ")

const longestBar = 30
const shortestBar = 5

/** A bar between two texts, in what is left of the width; none where that is too little. */
const barLine = (left: string, share: number, right: string, width: number): string => {
  const room = Math.min(longestBar, width - columnsOf(left) - columnsOf(right) - 6)
  if (room < shortestBar) return `${left}  ${right}`
  const filled = Math.round(room * Math.min(1, share))
  return `${left}  [${"#".repeat(filled)}${"·".repeat(room - filled)}]  ${right}`
}

/** What a task does, without the phase and the epoch that its name has. */
const workOf = (task: string, phase: string) =>
  task
    .split("/")
    .filter((part) => part !== phase && !/^epoch-\d+$/.test(part))
    .join(" ")

const scoreText = (scores: Scores) =>
  ["mAP", "top-1"].flatMap((name) => (name in scores ? [`${name} ${scores[name]!.toFixed(1)}`] : [])).join(", ")

/** The scores of both networks of each row of the score table, as they come. */
const scoreBoard = ({ rows }: RunPlan) => {
  const byTask = new Map<string, Scores>()
  const last = new Map<string, string>()
  return {
    /** The row that is whole by this task's scores, as a line. */
    add: (task: string, scores: Scores): string | undefined => {
      byTask.set(task, scores)
      const row = rows.find(({ tasks }) => tasks.includes(task))
      const own = (row?.tasks ?? []).map((one) => byTask.get(one)).filter((found) => found !== undefined)
      if (row === undefined || own.length < row.tasks.length) return undefined
      const name = row.epoch > 0 ? `${row.name}, epoch ${row.epoch}` : row.name
      const line = `${name}: ${scoreText(meanScores(own))}`
      last.set(row.name, line)
      return line
    },
    /** Of each method the last row, the newest first. */
    last: () => [...last.values()].reverse()
  }
}

interface Current {
  readonly task: string
  readonly phase: string
  readonly began: number
  readonly done: number
  readonly total: number
  readonly note: string
}

/** Writes events as they come. `end` takes the drawn lines away and gives the cursor back. */
export const runView = ({
  plan = noPlan,
  stream = process.stderr,
  now = () => performance.now(),
  terminalType = process.env.TERM
}: ViewOptions = {}) => {
  const terminal = stream.isTTY === true && terminalType !== "dumb"
  const coloured = terminal && stream.hasColors?.() === true
  const block = liveBlock(stream)
  const times = taskTimes(plan)
  const scores = scoreBoard(plan)
  const training = trainingSoFar()
  let shown = Number.NEGATIVE_INFINITY
  let started = now()
  let run = { name: "", total: 0, done: 0 }
  let phase = ""
  let current: Current | undefined

  const say = (text: string) => {
    const line = printable(text)
    if (terminal) block.print(line)
    else stream.write(`${new Date().toISOString().slice(11, 19)}  ${line}\n`)
  }

  const look = (style: Parameters<typeof styleText>[0]) =>
    coloured ? { style: (text: string) => styleText(style, text, { validateStream: false }) } : {}

  const secondsOf = ({ began }: Current) => (now() - began) / 1000

  const rateOf = (of: Current) => of.done / Math.max(secondsOf(of), 1e-3)

  /** By its own progress; unknown before there is any. */
  const ownLeft = (of: Current) => (of.done > 0 && of.total > 0 ? (of.total - of.done) / rateOf(of) : undefined)

  const speed = (of: Current) => {
    const rate = rateOf(of)
    const left = of.total > of.done ? `, ${duration(ownLeft(of) ?? 0)} left` : ""
    return `${count(of.done)}${of.total > 0 ? ` of ${count(of.total)}` : ""}, ${rate < 10 ? rate.toFixed(1) : count(rate)}/s${left}`
  }

  const runLine = (width: number): BlockLine => {
    const own = current && { id: current.task, began: secondsOf(current), own: ownLeft(current) }
    const { seconds, tasks, unknown } = times.left(own)
    // Of a run that has not yet made most kinds of its tasks there is nothing to be said.
    const known = seconds >= 1 && unknown <= tasks / 2
    const left = known ? `, ${unknown > 0 ? "over " : ""}${duration(seconds)} left` : ""
    const share = run.done / Math.max(1, run.total)
    const text = `${count(run.done)} of ${count(run.total)} tasks${left}`
    return { text: barLine(printable(run.name), share, text, width), ...look("bold") }
  }

  const taskLine = (of: Current, width: number): BlockLine => {
    const epoch = Number(/epoch-(\d+)/.exec(of.task)?.[1] ?? 0)
    const epochs = plan.epochs.get(of.phase)
    const when = epoch > 0 ? ` epoch ${epoch}${epochs ? ` of ${epochs}` : ""}` : ""
    const work = workOf(of.task, of.phase)
    const name = printable(`${of.phase}${when}${work === "" ? "" : `: ${work}`}`)
    if (of.done === 0) return { text: name, ...look("cyan") }
    return { text: barLine(name, of.total > 0 ? of.done / of.total : 0, speed(of), width), ...look("cyan") }
  }

  const draw = () => {
    const width = (stream.columns || 80) - 1
    const detail = training.lines(width)
    const note = detail.length === 0 && current && current.note !== "" ? [printable(current.note)] : []
    const board = wrapped(scores.last(), width - 2)
    block.draw([
      ...(run.total > 0 ? [runLine(width)] : []),
      ...(current ? [taskLine(current, width)] : []),
      ...[...detail, ...note].map((text): BlockLine => ({ text: `  ${text}` })),
      ...board.map((text): BlockLine => ({ text: `  ${text}`, ...look("dim") }))
    ])
  }

  const progress = (event: Extract<RunEvent, { type: "progress" }>) => {
    const { done, total, task, note, step } = event
    if (current?.task !== task) current = { task, phase: event.phase, began: started, done, total, note }
    current = { ...current, done, total, note }
    if (step) training.add(step)
    const time = now()
    if (time - shown < (terminal ? everyMillis.terminal : everyMillis.plain)) return
    shown = time
    if (terminal) draw()
    else say([`${task}  ${speed(current)}`, ...(note === "" ? [] : [note])].join("  "))
  }

  const taskDone = (event: Extract<RunEvent, { type: "task-done" }>) => {
    run = { ...run, done: run.done + 1 }
    times.done(event.task, event.seconds)
    if (event.stepMillis && event.waitMillis)
      say(`${event.task}: ${training.summary(event.stepMillis, event.waitMillis)}`)
    const line = event.scores && scores.add(event.task, event.scores)
    if (line !== undefined) say(line)
  }

  const listen = (event: RunEvent) => {
    switch (event.type) {
      case "run-started":
        run = { name: event.run, total: event.tasks, done: 0 }
        started = now()
        return
      case "weights":
        return say(weightsLine(event))
      case "notice":
        return say(event.text)
      case "task-skipped":
        run = { ...run, done: run.done + 1 }
        return times.skipped(event.task)
      case "task-started": {
        const { task, phase: own } = event
        current = { task, phase: own, began: now(), done: 0, total: 0, note: "" }
        training.clear()
        shown = now()
        if (own !== phase) say(`${own}: starting (${count(run.done)} of ${count(run.total)} tasks done)`)
        phase = own
        if (terminal) draw()
        return
      }
      case "progress":
        return progress(event)
      case "task-done":
        return taskDone(event)
      case "run-done":
        block.end()
        return say(`${event.run}: all ${count(run.total)} tasks done, ${duration((now() - started) / 1000)}`)
    }
  }

  return { listen, end: block.end }
}
