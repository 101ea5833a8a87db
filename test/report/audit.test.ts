/** The audit on the page: none yet, one that passed, one with violations, one of a run that has changed since. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { auditRun } from "#audit/audit.ts"
import { auditFile, keepAudit, manifestDigest, readAudit } from "#audit/kept-audit.ts"
import { openRun } from "#audit/open-run.ts"
import { auditFigure } from "#report/audit-section.ts"
import { readRun } from "#report/run-data.ts"
import { mmt } from "../commands/mmt.ts"
import { cellsOf, drawnRuns, parsedHtml } from "./drawn-reports.ts"
import { hostileNames } from "./hostile-names.ts"

const runs = drawnRuns()

const sectionOf = async (folder: string) => parsedHtml(auditFigure(await Effect.runPromise(readRun(folder))).text)

const audited = (folder: string) =>
  Effect.runPromise(
    Effect.gen(function* () {
      const manifest = yield* manifestDigest(folder)
      const quiet = () => () => {}
      yield* keepAudit(folder, manifest, yield* auditRun(yield* openRun(folder), quiet, () => {}))
    })
  )

const outcomes = (section: Element) =>
  cellsOf(section.querySelector("table.audit"))
    .slice(1)
    .map(([name, outcome]) => [name, outcome])

describe("the audit section", () => {
  it("says how to audit where nobody did, then what every check found", async () => {
    const folder = await runs.draw("audited", "whole")
    expect((await sectionOf(folder)).textContent).toContain(`Not audited yet: mmt audit ${folder}`)
    await audited(folder)
    const section = await sectionOf(folder)
    expect(section.textContent).toMatch(
      /^9 of 9 checks passed, 0 violations\. Audited \d{4}-\d\d-\d\d \d\d:\d\d UTC by mmt /
    )
    expect(section.textContent).not.toContain("has changed since")
    expect(outcomes(section).map(([name]) => name)).toEqual([
      ...["checksums", "columns and rows", "lineage", "embeddings", "pseudo labels", "batches", "losses"],
      ...["mean teachers", "rankings and metrics"]
    ])
    expect(outcomes(section).every(([, outcome]) => outcome === "✓ passed")).toBe(true)
  })

  it("names violations, and says once the run has changed", async () => {
    const folder = await runs.draw("damaged", "whole")
    const file = "decode/source-train/part-00000.arrow"
    const bytes = readFileSync(join(folder, file))
    // A pixel, so that the file can still be read.
    bytes[Math.floor(bytes.length / 2)]! ^= 1
    writeFileSync(join(folder, file), bytes)
    await audited(folder)
    const section = await sectionOf(folder)
    expect(outcomes(section)[0]).toEqual(["checksums", "✗ 1 violation"])
    expect(section.querySelector(".violations")!.textContent).toContain(`${file}: `)
    const manifest = join(folder, "manifest.json")
    writeFileSync(manifest, `${readFileSync(manifest, "utf8")}\n`)
    expect((await sectionOf(folder)).textContent).toContain("The run has changed since")
  })

  it("takes texts of a kept audit for texts, and another file for none", async () => {
    const folder = await runs.draw("hostile-audit", "unlabelled", { until: () => false })
    const violations = hostileNames.map((name) => ({ file: name, row: 3, column: name, problem: name }))
    const check = { name: "checksums", about: hostileNames.join(), unit: "files", checked: 3, violations }
    await Effect.runPromise(keepAudit(folder, "other", [{ ...check, violationCount: 1000 }]))
    const section = await sectionOf(folder)
    expect(section.querySelectorAll("script, img").length).toBe(0)
    const items = [...section.querySelectorAll(".violations li")].map(({ textContent }) => textContent)
    expect(items.length).toBe(hostileNames.length + 1)
    expect(items).toContain("$&$`$'$1$<a>$$, row 3, column \"$&$`$'$1$<a>$$\": $&$`$'$1$<a>$$")
    expect(items.at(-1)).toBe(`… and ${1000 - hostileNames.length} more`)
    writeFileSync(auditFile(folder), '{"checks": 3}')
    expect(await Effect.runPromise(readAudit(folder))).toBeUndefined()
  })
})

describe("mmt", () => {
  it("audits and keeps the outcome, which report shows, and audits itself when asked", async () => {
    const folder = await runs.draw("commands", "unlabelled")
    const first = await mmt(runs.home, "audit", "commands")
    expect(first.code, first.err).toBe(0)
    const kept = await Effect.runPromise(readAudit(folder))
    expect([kept?.checks.length, kept?.outdated]).toEqual([9, false])
    rmSync(auditFile(folder))
    const written = await mmt(runs.home, "report", "commands", "--audit")
    expect(written.code, written.err).toBe(0)
    expect(readFileSync(join(folder, "report.html"), "utf8")).toContain("9 of 9 checks passed")
  })

  it("audits a run where the outcome cannot be kept, and says so", async () => {
    const folder = await runs.draw("unwritable", "unlabelled", { until: (task) => task.startsWith("decode") })
    mkdirSync(auditFile(folder))
    const { code, err } = await mmt(runs.home, "audit", "unwritable")
    expect(code, err).toBe(0)
    expect(err).toContain("the outcome is not kept for the report")
  })
})
