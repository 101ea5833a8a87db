/** The report of the bench: the table, and the rows of its JSON. */
import { expect, it } from "vitest"
import type { Case } from "../../bench/cases.ts"
import type { Comparison } from "../../bench/comparison.ts"
import { reportRow, reportText } from "../../bench/report.ts"

const one: Case = {
  name: "a-step",
  about: "a step of something",
  inputs: { file: "ours/inputs.ts", args: [] },
  ours: { file: "ours/side.ts", args: [] },
  peer: { file: "peer/side.py", args: [] },
  measure: { of: "time", unit: "ms a step", shown: (seconds) => seconds * 1000 },
  unitsPerRound: 1,
  rounds: 2,
  tolerance: { relative: 1e-4 }
}

const comparison: Comparison = {
  case: one,
  ours: 0.0875,
  peer: 0.105,
  ratio: 1.2,
  spread: [1.125, 1.31],
  rounds: [
    { ours: 0.08, peer: 0.09 },
    { ours: 0.095, peer: 0.12 }
  ],
  settings: { ours: "mmt, 1 thread", peer: "PyTorch, 2 threads" },
  firstStep: 3.25
}

it("has costs in the case's unit, as JSON", () => {
  expect(reportRow(comparison)).toEqual({
    name: "a-step",
    ratio: 1.2,
    ours: 87.5,
    peer: 105,
    unit: "ms a step",
    spread: [1.125, 1.31]
  })
})

it("is a table with the settings of each side under it", () => {
  const [machine, table, legend, notes] = reportText([comparison]).split("\n\n")
  expect(machine).toMatch(/^\d+ cores \(.+\), \d+ GB of memory$/)
  expect(table!.split("\n").map((line) => line.split(/ {2,}/))).toEqual([
    ["case", "ours", "peer", "unit", "ratio", "of rounds", "rounds"],
    ["a-step", "87.5", "105", "ms a step", "1.20", "1.13–1.31", "2"]
  ])
  expect(legend).toContain("higher is better")
  expect(notes!.split("\n")).toEqual([
    "a-step: a step of something",
    "  ours: mmt, 1 thread",
    "  peer: PyTorch, 2 threads",
    "  first step after start: 3.25 s (ours)"
  ])
})

it("says nothing of a first step where a case has none", () => {
  const { firstStep: _, ...without } = comparison
  expect(reportText([without])).not.toContain("first step")
})
