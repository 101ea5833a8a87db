/** What a person sees of a run: plain lines in a log, one line that is written over on a terminal. */
import { describe, expect, it } from "vitest"
import { runView } from "#cli/run-view.ts"
import type { RunEvent } from "#pipeline/events.ts"

const progress = (done: number): RunEvent => ({
  type: "progress",
  task: "train/epoch-001",
  phase: "mmt",
  done,
  total: 100,
  note: "loss 1.250"
})

const started: ReadonlyArray<RunEvent> = [
  { type: "run-started", run: "tiny", tasks: 3, done: 1 },
  { type: "task-skipped", task: "decode/source-train", phase: "decode" },
  { type: "task-started", task: "train/epoch-001", phase: "mmt", why: "missing" }
]
const ended: ReadonlyArray<RunEvent> = [
  {
    type: "task-done",
    task: "train/epoch-001",
    phase: "mmt",
    seconds: 5,
    stepMillis: [90, 110],
    waitMillis: [10, 10]
  },
  { type: "task-started", task: "evaluate/epoch-001/teacher-1", phase: "mmt", why: "missing" },
  { type: "task-done", task: "evaluate/epoch-001/teacher-1", phase: "mmt", seconds: 1 },
  { type: "run-done", run: "tiny", seconds: 65 }
]

/** A view on a stream that keeps what is written, and a clock that is set by hand. */
const viewOn = (isTTY: boolean) => {
  const time = { now: 0 }
  let text = ""
  const stream = { isTTY, columns: 60, write: (more: string) => (text += more) }
  return { view: runView(stream, () => time.now), time, text: () => text }
}

describe("in a log", () => {
  it("says what students start from", () => {
    const { view, text } = viewOn(false)
    const event = { type: "weights", student: "student-1", file: "a.pth", tensors: 318 } as const
    view.listen({ ...event, initial: ["head"], leftOut: ["a", "b", "c", "d", "e"] })
    view.listen({ ...event, initial: [], leftOut: [] })
    expect(
      text()
        .split("\n")
        .map((line) => line.slice(10))
    ).toEqual([
      "student-1 starts with 318 tensors of a.pth; not in it, so new: head; left out: a, b, c, d and 1 more",
      "student-1 starts with 318 tensors of a.pth",
      ""
    ])
  })

  it("is a line for each phase and training, and of progress every ten seconds", () => {
    const { view, time, text } = viewOn(false)
    for (const event of started) view.listen(event)
    for (const [done, now] of [
      [10, 5_000],
      [20, 10_000],
      [21, 10_500],
      [50, 20_000]
    ] as const) {
      time.now = now
      view.listen(progress(done))
    }
    time.now = 65_000
    for (const event of ended) view.listen(event)
    view.end()
    const lines = text().trimEnd().split("\n")
    for (const line of lines) expect(line).toMatch(/^\d\d:\d\d:\d\d {2}\S/)
    expect(lines.map((line) => line.slice(10))).toEqual([
      "mmt: starting (1 of 3 tasks done)",
      "train/epoch-001  20 of 100, 2.0/s, 40 s left  loss 1.250",
      "train/epoch-001  50 of 100, 2.5/s, 20 s left  loss 1.250",
      "train/epoch-001: 2 steps of 100 ms, 9.1 % of the time waiting for batches",
      "tiny: all 3 tasks done, 1 min 5 s"
    ])
  })
})

describe("on a terminal", () => {
  it("is one line no wider than it, written over, and left at the end", () => {
    const { view, time, text } = viewOn(true)
    for (const event of started) view.listen(event)
    time.now = 1_000
    view.listen(progress(50))
    time.now = 1_050
    view.listen(progress(60))
    view.end()
    view.end()
    const clear = "\x1b[K"
    expect(text().split("\r").slice(1)).toEqual([
      `${clear}mmt: starting (1 of 3 tasks done)\n`,
      `train/epoch-001${clear}`,
      `${"train/epoch-001  [##########··········]  50 of 100, 50/s, 1 s left".slice(0, 59)}${clear}\n`
    ])
  })
})
