/** What a run says of its progress to other processes. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { progressFile, progressWriter, readProgress } from "#pipeline/progress-file.ts"

let run: string
const read = () => Effect.runPromise(readProgress(run))

beforeEach(() => {
  run = mkdtempSync(join(tmpdir(), "mmt-progress-"))
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] })
})
afterEach(() => {
  vi.useRealTimers()
  rmSync(run, { recursive: true, force: true })
})

const step = { losses: { ce1: 1.5, total: Number.NaN }, learningRate: 0.1, stepMillis: 40, waitMillis: 1 }
const progress = (done: number) =>
  ({ type: "progress", task: "train/epoch-001", phase: "mmt", done, total: 9, note: "", step }) as const

it("is written at once, then at most once a second, the last state included, and is gone at the end", async () => {
  const writer = progressWriter(run)
  writer.listen({ type: "run-started", run: "x", tasks: 3, done: 0 })
  writer.listen({ type: "task-skipped", task: "decode/target-train", phase: "decode" })
  writer.listen({ type: "task-started", task: "train/epoch-001", phase: "mmt", why: "missing" })
  vi.advanceTimersByTime(0)
  expect(await read()).toMatchObject({ run: "x", tasks: { done: 1, total: 3 }, task: "train/epoch-001", done: 0 })
  const first = readFileSync(progressFile(run), "utf8")
  for (let done = 1; done <= 5; done++) {
    writer.listen(progress(done))
    vi.advanceTimersByTime(100)
  }
  expect(readFileSync(progressFile(run), "utf8")).toBe(first)
  vi.advanceTimersByTime(500)
  expect(await read()).toMatchObject({
    done: 5,
    total: 9,
    step: { losses: { ce1: 1.5, total: null }, learningRate: 0.1 }
  })
  writer.listen({ type: "task-started", task: "evaluate/epoch-001/teacher-1", phase: "mmt", why: "missing" })
  vi.advanceTimersByTime(1000)
  expect(await read()).not.toHaveProperty("step")
  writer.listen(progress(6))
  writer.end()
  vi.advanceTimersByTime(5000)
  expect(existsSync(progressFile(run))).toBe(false)
  expect(await read()).toBeUndefined()
})

it("is left out where it cannot be written, and is none where it is not one", async () => {
  rmSync(run, { recursive: true })
  const writer = progressWriter(run)
  writer.listen(progress(1))
  expect(() => vi.advanceTimersByTime(2000)).not.toThrow()
  run = mkdtempSync(join(tmpdir(), "mmt-progress-"))
  writeFileSync(progressFile(run), '{"written":')
  expect(await read()).toBeUndefined()
})
