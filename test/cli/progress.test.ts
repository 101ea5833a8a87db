/** The progress line, on a terminal of any width and in a log. */
import { describe, expect, it } from "vitest"
import { duration, progressLine } from "#cli/progress.ts"

const record = (stream: { readonly isTTY?: boolean; readonly columns?: number }) => {
  const written: Array<string> = []
  let time = 0
  return {
    written,
    pass: (milliseconds: number) => {
      time += milliseconds
    },
    line: (label: string, total: number) =>
      progressLine(label, total, { ...stream, write: (text) => written.push(text) }, () => time)
  }
}

describe("on a terminal", () => {
  it("writes one line over again, with bar, rate and time left", () => {
    const { line, pass, written } = record({ isTTY: true, columns: 100 })
    const progress = line("drawing", 6840)
    pass(1000)
    progress.update(1710)
    pass(50)
    progress.update(1800)
    pass(2950)
    progress.update(6840)
    progress.end()
    progress.end()
    expect(written).toEqual([
      `\rdrawing  [${"#".repeat(8)}${"·".repeat(22)}]  1,710 of 6,840  1,710/s  3 s left\x1b[K`,
      `\rdrawing  [${"#".repeat(30)}]  6,840 of 6,840  1,710/s  0 s left\x1b[K`,
      `\rdrawing  [${"#".repeat(30)}]  6,840 of 6,840  1,710/s  took 4 s\x1b[K\n`
    ])
  })

  it("never fills the width, with a shorter bar or none", () => {
    for (let columns = 10; columns < 120; columns++) {
      const { line, pass, written } = record({ isTTY: true, columns })
      const progress = line("drawing", 6840)
      pass(1000)
      progress.update(1710)
      progress.end()
      for (const text of written) expect(text.replaceAll("\x1b[K", "").trim().length).toBeLessThan(columns)
    }
  })
})

describe("elsewhere", () => {
  it("writes a plain line every five seconds and one at the end", () => {
    const { line, pass, written } = record({})
    const progress = line("drawing", 100)
    for (let done = 1; done <= 12; done++) {
      pass(1000)
      progress.update(done)
    }
    progress.end()
    expect(written).toEqual([
      "drawing  5 of 100  1.0/s  1 min 35 s left\n",
      "drawing  10 of 100  1.0/s  1 min 30 s left\n",
      "drawing  12 of 100  1.0/s  took 12 s\n"
    ])
  })

  it("writes nothing when nothing was done", () => {
    const { line, written } = record({})
    line("drawing", 100).end()
    expect(written).toEqual([])
  })
})

it("durations have two parts at most", () => {
  expect([0, 59.4, 60, 200, 3599, 3900, 90_000].map(duration)).toEqual([
    "0 s",
    "59 s",
    "1 min 0 s",
    "3 min 20 s",
    "59 min 59 s",
    "1 h 5 min",
    "25 h 0 min"
  ])
})
