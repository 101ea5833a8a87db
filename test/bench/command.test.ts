/** `npm run bench` as a user calls it, as far as it goes without PyTorch. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, it } from "vitest"
import { cases } from "../../bench/cases.ts"
import { repository, start } from "../commands/mmt.ts"

const bench = (...args: ReadonlyArray<string>) =>
  start(process.execPath, [join(repository, "bench/bench.ts"), ...args], repository).ended

it("answers an unknown case with the known ones and exit code 2", async () => {
  const { code, out, err } = await bench("mmt-step-smal")
  expect(code).toBe(2)
  expect(err).toContain('"mmt-step-smal"')
  for (const { name } of cases) expect(err).toContain(`"${name}"`)
  expect(err.trimEnd().split("\n")).toHaveLength(2)
  expect(out).toBe("")
})

it.each([
  ["--rounds", "0"],
  ["--rounds", "few"],
  ["--round", "3"]
])("answers %s %s with exit code 2", async (...args) => {
  const { code, err } = await bench(...args)
  expect(code).toBe(2)
  expect(err).toContain("--rounds")
})

it("fails with the peer's reason where its Python does not run", async () => {
  const folder = mkdtempSync(join(tmpdir(), "mmt-bench-test-"))
  const given = process.env.MMT_BENCH_PYTHON
  process.env.MMT_BENCH_PYTHON = join(folder, "python")
  try {
    const { code, out, err } = await bench("mmt-step-small")
    expect(code).toBe(1)
    expect(err).toContain("mmt-step-small: ")
    expect(err).toContain("step.py cannot be started")
    expect(err.trimEnd().split("\n").at(-1)).toBe("not compared: mmt-step-small")
    expect(out).toBe("")
  } finally {
    if (given === undefined) delete process.env.MMT_BENCH_PYTHON
    else process.env.MMT_BENCH_PYTHON = given
    rmSync(folder, { recursive: true })
  }
})
