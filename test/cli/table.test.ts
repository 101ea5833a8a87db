/** Tables in plain text. */
import { expect, it } from "vitest"
import { table } from "#cli/table.ts"

it("sets numbers to the right and all else to the left, without blanks at the ends", () => {
  const rows = [
    ["decode", "1,200", "8 s", "done"],
    ["pretrain/student-1", "3.5", "", "stale"],
    ["mmt", "–", "12 ms", ""]
  ]
  expect(table(["task", "rows", "time", "state"], rows)).toBe(
    [
      "task                 rows   time  state",
      "decode              1,200    8 s  done",
      "pretrain/student-1    3.5         stale",
      "mmt                     –  12 ms"
    ].join("\n")
  )
})

it("has its headings when it has no rows", () => {
  expect(table(["task", "state"], [])).toBe("task  state")
})
