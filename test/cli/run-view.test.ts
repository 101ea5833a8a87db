/** What a person sees of a run: lines with the time in a log; on a terminal lines that are drawn over again, below those that stay. */
import { stripVTControlCharacters } from "node:util"
import { describe, expect, it } from "vitest"
import { runView, type ViewStream } from "#cli/run-view.ts"
import type { RunPlan } from "#cli/time-left.ts"
import type { RunEvent, TrainingStep } from "#pipeline/events.ts"
import { fakeTerminal } from "./fake-terminal.ts"

const train = { task: "train/epoch-003", phase: "mmt" } as const

const step = (loss: number): TrainingStep => ({
  losses: { ce1: loss, tri1: 0.25, softCe1: 1, ce2: loss + 1, tri2: 0.75, softCe2: 3, total: 2 * loss },
  learningRate: 0.00035,
  stepMillis: 99,
  waitMillis: 1
})

const progress = (done: number): RunEvent => ({
  type: "progress",
  ...train,
  done,
  total: 80,
  note: "loss 1.250",
  step: step(1.5)
})

const trained: RunEvent = { type: "task-done", ...train, seconds: 8, stepMillis: [90, 110], waitMillis: [10, 10] }

const evaluated = (network: number, mAP: number): RunEvent => ({
  type: "task-done",
  task: `evaluate/epoch-003/teacher-${network}`,
  phase: "mmt",
  seconds: 1,
  scores: { mAP, "top-1": mAP + 10, queries: 40 }
})

const kind = (id: string, stages: string) => ({ id, kind: `mmt ${stages}`, stages })

const plan: RunPlan = {
  tasks: [
    kind("train/epoch-002", "train-step"),
    kind("train/epoch-003", "train-step"),
    kind("evaluate/epoch-003/teacher-1", "evaluate"),
    kind("evaluate/epoch-003/teacher-2", "evaluate"),
    kind("train/epoch-004", "train-step")
  ],
  seconds: new Map([
    ["train/epoch-002", 10],
    ["evaluate/epoch-002/teacher-1", 3]
  ]),
  epochs: new Map([["mmt", 4]]),
  rows: [{ name: "mmt", epoch: 3, tasks: [1, 2].map((n) => `evaluate/epoch-003/teacher-${n}`) }]
}

const started: ReadonlyArray<RunEvent> = [
  { type: "run-started", run: "tiny", tasks: 5, done: 1 },
  { type: "task-skipped", task: "train/epoch-002", phase: "mmt" },
  { type: "task-started", ...train, why: "missing" }
]

/** A view with a clock that is set by hand. */
const viewOn = (stream: ViewStream, terminalType = "xterm") => {
  const time = { now: 0 }
  return { view: runView({ plan, stream, now: () => time.now, terminalType }), time }
}

const log = () => {
  let text = ""
  return { stream: { write: (more: string) => (text += more) }, lines: () => text.trimEnd().split("\n") }
}

describe("in a log", () => {
  it("says what students start from", () => {
    const { stream, lines } = log()
    const { view } = viewOn(stream)
    const event = { type: "weights", student: "student-1", file: "a.pth", tensors: 318 } as const
    view.listen({ ...event, initial: ["head"], leftOut: ["a", "b", "c", "d", "e"] })
    view.listen({ ...event, initial: [], leftOut: [] })
    expect(lines().map((line) => line.slice(10))).toEqual([
      "student-1 starts with 318 tensors of a.pth; not in it, so new: head; left out: a, b, c, d and 1 more",
      "student-1 starts with 318 tensors of a.pth"
    ])
  })

  it.each([
    ["no terminal", false, "xterm"],
    ["a dumb terminal", true, "dumb"]
  ])(
    "is a line for each phase, training and score, and of progress every ten seconds: %s",
    (_, isTTY, terminalType) => {
      const { stream, lines } = log()
      const { view, time } = viewOn({ ...stream, isTTY }, terminalType)
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
      for (const event of [trained, evaluated(1, 40), evaluated(2, 41)]) view.listen(event)
      view.listen({ type: "run-done", run: "tiny", seconds: 65 })
      view.end()
      for (const line of lines()) expect(line).toMatch(/^\d\d:\d\d:\d\d {2}\S/)
      expect(lines().map((line) => line.slice(10))).toEqual([
        "mmt: starting (1 of 5 tasks done)",
        "train/epoch-003  20 of 80, 2.0/s, 30 s left  loss 1.250",
        "train/epoch-003  50 of 80, 2.5/s, 12 s left  loss 1.250",
        "train/epoch-003: loss 3.000, 2 steps of 100 ms, 9.1 % waiting for data",
        "mmt, epoch 3: mAP 40.5, top-1 50.5",
        "tiny: all 5 tasks done, 1 min 5 s"
      ])
    }
  )
})

/** Half-way through an epoch of training, with the scores of a row. */
const midway = (terminal: ReturnType<typeof fakeTerminal>) => {
  const { view, time } = viewOn(terminal)
  for (const event of started) view.listen(event)
  for (const event of [evaluated(1, 40), evaluated(2, 41)]) view.listen(event)
  time.now = 4_000
  view.listen(progress(40))
  return { view, time }
}

describe("on a terminal", () => {
  // 4 s of this epoch by its own rate, and 10 s of the next one as the one before it took.
  it("of 80 columns shows the run, the task, its loss terms and the last scores, below what stays", () => {
    const terminal = fakeTerminal(80)
    midway(terminal)
    expect(terminal.screen()).toEqual([
      "mmt: starting (1 of 5 tasks done)",
      "mmt, epoch 3: mAP 40.5, top-1 50.5",
      "tiny  [##################············]  3 of 5 tasks, 14 s left",
      "mmt epoch 3 of 4: train  [#############·············]  40 of 80, 10/s, 4 s left",
      "  loss 3.000  identity 2.000  triplet 0.500  soft identity 2.000",
      "  waiting for data 1.0 %",
      "  mmt, epoch 3: mAP 40.5, top-1 50.5"
    ])
    expect(terminal.cursorHidden()).toBe(true)
  })

  it("of 60 columns has shorter bars and shorter lines", () => {
    const terminal = fakeTerminal(60)
    midway(terminal)
    expect(terminal.screen().slice(2)).toEqual([
      "tiny  [################··········]  3 of 5 tasks, 14 s left",
      "mmt epoch 3 of 4: train  [###···]  40 of 80, 10/s, 4 s left",
      "  loss 3.000  identity 2.000  triplet 0.500",
      "  soft identity 2.000  waiting for data 1.0 %",
      "  mmt, epoch 3: mAP 40.5, top-1 50.5"
    ])
  })

  it("puts the scores of several methods on as many lines as they need, the newest first", () => {
    const terminal = fakeTerminal(60)
    const rows = ["source-only", "baseline", "mmt"].map((name, i) => ({ name, epoch: i, tasks: [`${name}-1`] }))
    const view = runView({ plan: { ...plan, rows }, stream: terminal, now: () => 0, terminalType: "xterm" })
    const scores = { mAP: 40, "top-1": 50 }
    for (const { name, tasks } of rows)
      view.listen({ type: "task-done", task: tasks[0]!, phase: name, seconds: 1, scores })
    view.listen({ type: "task-started", ...train, why: "missing" })
    expect(terminal.screen().slice(-3)).toEqual([
      "  mmt, epoch 2: mAP 40.0, top-1 50.0",
      "  baseline, epoch 1: mAP 40.0, top-1 50.0",
      "  source-only: mAP 40.0, top-1 50.0"
    ])
    view.end()
  })

  it("of 120 columns has the loss terms on one line", () => {
    const terminal = fakeTerminal(120)
    midway(terminal)
    expect(terminal.screen()[4]).toBe(
      "  loss 3.000  identity 2.000  triplet 0.500  soft identity 2.000  waiting for data 1.0 %"
    )
  })

  it("leaves what stays, and the cursor, at the end", () => {
    const terminal = fakeTerminal(80)
    const { view } = midway(terminal)
    view.listen(trained)
    view.listen({ type: "run-done", run: "tiny", seconds: 8 })
    view.end()
    view.end()
    expect(terminal.screen()).toEqual([
      "mmt: starting (1 of 5 tasks done)",
      "mmt, epoch 3: mAP 40.5, top-1 50.5",
      "train/epoch-003: loss 3.000, 2 steps of 100 ms, 9.1 % waiting for data",
      "tiny: all 5 tasks done, 4 s"
    ])
    expect(terminal.cursorHidden()).toBe(false)
  })

  it("gives the cursor back where the process exits before the view has ended", () => {
    const terminal = fakeTerminal(80)
    const before = process.listeners("exit")
    const { view } = midway(terminal)
    const [restore] = process.listeners("exit").filter((listener) => !before.includes(listener))
    restore!(1)
    expect(terminal.cursorHidden()).toBe(false)
    view.end()
    expect(process.listeners("exit")).toEqual(before)
  })

  it("writes at most ten times a second, once a frame", () => {
    const terminal = fakeTerminal(80)
    const { view, time } = midway(terminal)
    const before = terminal.writes.length
    for (let i = 1; i <= 1000; i++) {
      time.now = 4_000 + i
      view.listen(progress(40))
    }
    expect(terminal.writes.length - before).toBe(10)
  })

  it.each([
    [100, 60],
    [60, 100],
    [120, 45]
  ])("draws itself over when it is %d columns wide and becomes %d", (from, to) => {
    const terminal = fakeTerminal(from)
    const { view, time } = midway(terminal)
    terminal.resize(to)
    for (const now of [5_000, 6_000]) {
      time.now = now
      view.listen(progress(now / 100))
    }
    const screen = terminal.screen().join("")
    expect(screen.split("of 5 tasks, ").length).toBe(2)
    expect(screen.split("mmt epoch 3 of 4").length).toBe(2)
    for (const line of terminal.screen().slice(-4)) expect(line.length).toBeLessThan(to)
  })

  it("is never as wide as the terminal, and never higher", () => {
    for (const columns of [10, 20, 40, 60, 80, 120]) {
      const terminal = fakeTerminal(columns, 4)
      const { view } = midway(terminal)
      const drawn = terminal.writes.at(-1)!.split("\n").map(stripVTControlCharacters)
      expect(drawn.length).toBeLessThan(4)
      for (const line of drawn) expect(line.trim().length).toBeLessThan(columns)
      view.end()
    }
  })

  it("has colours only where the terminal has", () => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: of a colour
    const colour = /\x1b\[\d+m/
    for (const colours of [true, false]) {
      const terminal = fakeTerminal(80, 24, colours)
      midway(terminal).view.end()
      expect(terminal.writes.some((text) => colour.test(text))).toBe(colours)
    }
  })

  it("shows names as they stand, and does nothing that they say", () => {
    const terminal = fakeTerminal(80)
    const { view } = viewOn(terminal)
    view.listen({ type: "run-started", run: "a\x1b[2J\r\nb", tasks: 5, done: 0 })
    view.listen({ type: "notice", text: "\x1b]0;title\x07 and \x1b[31mred" })
    view.listen({ type: "task-started", task: "x\x1b[5A", phase: "\x1b[H", why: "missing" })
    expect(terminal.screen()[0]).toBe("�]0;title� and �[31mred")
    expect(terminal.screen()).toContainEqual(expect.stringContaining("a�[2J��b"))
    view.end()
  })
})
