/** What a run's `events.jsonl` keeps. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, expect, it } from "vitest"
import { WriteFailed } from "#pipeline/arrow-file.ts"
import { keepEvent, type RunEvent } from "#pipeline/events.ts"

const folder = mkdtempSync(join(tmpdir(), "mmt-events-"))
afterAll(() => rmSync(folder, { recursive: true }))

it("keeps events as lines of JSON with their time, progress and skipped tasks left out", () => {
  const file = join(folder, "events.jsonl")
  const kept: ReadonlyArray<RunEvent> = [
    { type: "run-started", run: "r", tasks: 2, done: 1 },
    { type: "task-started", task: "train/epoch-001", phase: "mmt", why: "missing" },
    { type: "task-done", task: "train/epoch-001", phase: "mmt", seconds: 1.5, stepMillis: [10], waitMillis: [1] },
    { type: "task-failed", task: "embed", phase: "mmt", problem: "two\nlines" },
    { type: "run-done", run: "r", seconds: 2 }
  ]
  const passing: ReadonlyArray<RunEvent> = [
    { type: "progress", task: "train/epoch-001", phase: "mmt", done: 1, total: 2, note: "" },
    { type: "task-skipped", task: "decode/source-train", phase: "decode" }
  ]
  for (const event of [...passing, ...kept, ...passing]) keepEvent(file, event)
  const lines = readFileSync(file, "utf8").trimEnd().split("\n")
  const read = lines.map((line) => JSON.parse(line) as RunEvent & { time: string })
  expect(read.map(({ time: _, ...event }) => event)).toEqual(kept)
  for (const { time } of read) expect(new Date(time).toISOString()).toBe(time)
})

it("says that it cannot be written", () => {
  const file = join(folder, "none", "events.jsonl")
  const write = () => keepEvent(file, { type: "run-done", run: "r", seconds: 1 })
  expect(write).toThrow(WriteFailed)
  expect(write).toThrow(`${file}: cannot be written: ENOENT: no such file or directory, open '${file}'`)
})
