/** The time that a run still takes, by its tasks so far. */

import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { noPlan, runPlanOf, taskTimes } from "#cli/time-left.ts"
import { parseRunFile } from "#pipeline/run-file.ts"

const task = (id: string, phase: string, stages: string) => ({ id, kind: `${phase} ${stages}`, stages })

const plan = {
  ...noPlan,
  tasks: [task("a1", "a", "train"), task("a2", "a", "train"), task("b1", "b", "train"), task("b2", "b", "embed")]
}

describe("the time left", () => {
  it("is of the tasks that are left, each as its kind took, or its stages in another phase; more where neither is known", () => {
    const times = taskTimes(plan)
    expect(times.left(undefined)).toEqual({ seconds: 0, unknown: 4, tasks: 4 })
    times.done("a1", 10)
    expect(times.left(undefined)).toEqual({ seconds: 20, unknown: 1, tasks: 3 })
    times.done("a2", 20)
    expect(times.left(undefined)).toEqual({ seconds: 15, unknown: 1, tasks: 2 })
    times.skipped("b2")
    expect(times.left(undefined)).toEqual({ seconds: 15, unknown: 0, tasks: 1 })
  })

  it("takes the running task's own progress, or what it has not used of its usual time", () => {
    const times = taskTimes({ ...plan, seconds: new Map([["a1", 10]]) })
    times.skipped("a1")
    times.skipped("b2")
    expect(times.left({ id: "a2", began: 4, own: undefined }).seconds).toBe(16)
    expect(times.left({ id: "a2", began: 40, own: undefined }).seconds).toBe(10)
    expect(times.left({ id: "a2", began: 4, own: 3 }).seconds).toBe(13)
  })

  it("knows the tasks and epochs of a run file", async () => {
    const text =
      "data: { target: { root: t }, source: { root: s } }\nadapt: { epochs: 2 }\nvariants: { hard: { epochs: 1 } }\n"
    const config = await Effect.runPromise(parseRunFile(text, "x.yaml"))
    const { epochs, tasks } = runPlanOf(config, new Map())
    expect([epochs.get("mmt"), epochs.get("hard"), epochs.get("pretrain")]).toEqual([2, 1, config.pretrain.epochs])
    const kinds = new Map(tasks.map(({ id, kind }) => [id, kind]))
    expect(kinds.get("embed/epoch-001/teacher-1-query")).toBe(kinds.get("embed/epoch-002/teacher-2-query"))
    expect(kinds.get("embed/epoch-001/teacher-1-query")).not.toBe(kinds.get("embed/epoch-001/target-train"))
  })
})
