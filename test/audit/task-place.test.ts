import { describe, expect, it } from "vitest"
import { taskPlace } from "#audit/task-place.ts"

describe("the place of a task", () => {
  it.each([
    ["decode/source-train", ["decode", null, null, null, "source-train"]],
    ["pretrain/student-2/epoch-080", ["pretrain", null, 80, "student-2", null]],
    ["embed/source-only/student-1-query", ["embed", "source-only", null, "student-1", "target-query"]],
    ["embed/epoch-003/target-train", ["embed", "mmt", 3, null, "target-train"]],
    ["cluster/epoch-003", ["cluster", "mmt", 3, null, null]],
    ["baseline/evaluate/epoch-010/teacher-2", ["evaluate", "baseline", 10, "teacher-2", null]]
  ])("%s", (task, [stage, variant, epoch, network, split]) => {
    expect(taskPlace(task)).toEqual({ stage, variant, epoch, network, split })
  })
})
