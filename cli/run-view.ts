/**
 * What a person sees of a run while it goes, on stderr: on a terminal one line that is written over, elsewhere plain
 * lines with the time, one for each epoch and phase.
 */
import { count, duration, type ProgressStream } from "#cli/progress.ts"
import type { RunEvent } from "#pipeline/events.ts"

/** Names of tensors that a line shows. */
const mostNames = 4

const everyMillis = { terminal: 100, plain: 10_000 } as const

const bar = (done: number, total: number, cells: number) => {
  const filled = Math.round((cells * Math.min(done, total)) / Math.max(1, total))
  return `[${"#".repeat(filled)}${"·".repeat(cells - filled)}]`
}

const mean = (values: ReadonlyArray<number>) => values.reduce((a, b) => a + b, 0) / values.length

const training = (steps: ReadonlyArray<number>, waits: ReadonlyArray<number>) => {
  const share = mean(waits) / (mean(waits) + mean(steps))
  return `${steps.length} steps of ${Math.round(mean(steps))} ms, ${(100 * share).toFixed(1)} % of the time waiting for batches`
}

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

/** Writes events as they come. `end` leaves the last line and gives the cursor back. */
export const runView = (stream: ProgressStream = process.stderr, now: () => number = () => performance.now()) => {
  const terminal = stream.isTTY === true
  let shown = Number.NEGATIVE_INFINITY
  let started = now()
  let taskStarted = now()
  let tasks = { total: 0, done: 0 }
  let phase = ""
  let written = false

  const plain = (text: string) => {
    if (terminal) stream.write(`\r\x1b[K${text}\n`)
    else stream.write(`${new Date().toISOString().slice(11, 19)}  ${text}\n`)
    written = false
  }

  const live = (text: string) => {
    const columns = (stream.columns || 80) - 1
    stream.write(`\r${text.slice(0, columns)}\x1b[K`)
    written = true
  }

  const progress = (event: Extract<RunEvent, { type: "progress" }>) => {
    const time = now()
    if (time - shown < (terminal ? everyMillis.terminal : everyMillis.plain)) return
    shown = time
    const { done, total, task, note } = event
    const seconds = (time - taskStarted) / 1000
    const rate = done / Math.max(seconds, 1e-3)
    const left = total > done ? `, ${duration((total - done) / rate)} left` : ""
    const speed = `${count(done)}${total > 0 ? ` of ${count(total)}` : ""}, ${rate < 10 ? rate.toFixed(1) : count(rate)}/s${left}`
    const extra = note === "" ? "" : `  ${note}`
    if (terminal) live(`${task}  ${bar(done, total, 20)}  ${speed}${extra}`)
    else plain(`${task}  ${speed}${extra}`)
  }

  const listen = (event: RunEvent) => {
    switch (event.type) {
      case "run-started":
        tasks = { total: event.tasks, done: 0 }
        started = now()
        return
      case "notice":
        return plain(event.text)
      case "weights":
        return plain(weightsLine(event))
      case "task-skipped":
        tasks.done++
        return
      case "task-started":
        taskStarted = shown = now()
        if (event.phase !== phase)
          plain(`${event.phase}: starting (${count(tasks.done)} of ${count(tasks.total)} tasks done)`)
        phase = event.phase
        if (terminal) live(event.task)
        return
      case "progress":
        return progress(event)
      case "task-done":
        tasks.done++
        if (event.stepMillis && event.waitMillis)
          plain(`${event.task}: ${training(event.stepMillis, event.waitMillis)}`)
        return
      case "run-done":
        plain(`${event.run}: all ${count(tasks.total)} tasks done, ${duration((now() - started) / 1000)}`)
    }
  }

  const end = () => {
    if (written) stream.write("\n")
    written = false
  }
  return { listen, end }
}
