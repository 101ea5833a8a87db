/** The cases of the bench: their names, and that what they run is there. */
import { existsSync } from "node:fs"
import { expect, it } from "vitest"
import { cases } from "../../bench/cases.ts"
import { givenFolder } from "../../bench/comparison.ts"

it("have the names under which figures are published", () => {
  expect(cases.map(({ name }) => name)).toEqual([
    "mmt-step-small",
    "mmt-step-resnet50",
    "pretrain-step-small",
    "embed-resnet50",
    "decode",
    "augment",
    "kmeans",
    "jaccard",
    "peak-memory-resnet50"
  ])
})

it.each(cases)("$name runs programs that are there, in TypeScript on our side and in Python on the peer's", (one) => {
  const files = [one.inputs, one.ours, one.peer].map((program) => givenFolder(program, "folder").file)
  expect(files.filter((file) => !existsSync(file))).toEqual([])
  expect([one.inputs, one.ours].every(({ file }) => file.startsWith("ours/") && file.endsWith(".ts"))).toBe(true)
  expect(one.peer.file).toMatch(/^peer\/.+\.py$/)
})

it("show a lower cost as less time and memory, and as more images a second", () => {
  const shown = (name: string, cost: number) => cases.find((one) => one.name === name)!.measure.shown(cost)
  expect(shown("mmt-step-small", 0.08)).toBeCloseTo(80)
  expect(shown("kmeans", 2)).toBe(2)
  expect(shown("peak-memory-resnet50", 4.5e9)).toBe(4.5)
  // A unit of work is 64 images.
  expect(shown("embed-resnet50", 2)).toBe(32)
  expect(shown("embed-resnet50", 0.5)).toBe(128)
})
