/** The table of the ablations: a column a score, and with several seeds its spread and each seed's own. */
import { describe, expect, it } from "vitest"
import { ablationTable } from "#cli/ablate.ts"
import type { AblationRow } from "#pipeline/ablation.ts"

const spread = (...seeds: ReadonlyArray<number>) => ({
  mean: seeds.reduce((sum, value) => sum + value, 0) / seeds.length,
  min: Math.min(...seeds),
  max: Math.max(...seeds),
  seeds
})

const row = (name: string, ...seeds: ReadonlyArray<number>): AblationRow => ({
  name,
  last: { mAP: spread(...seeds), top1: spread(...seeds.map((value) => value + 10)) },
  best: { mAP: spread(...seeds.map((value) => value + 1)), top1: spread(...seeds.map((value) => value + 11)) }
})

describe("the table of the ablations", () => {
  it("has the scores of one seed", () => {
    expect(ablationTable([row("source-only", 30), row("mmt", 41.26)], [3])).toBe(
      [
        "target test, %   mAP  top-1  best mAP  its top-1",
        "source-only     30.0   40.0      31.0       41.0",
        "mmt             41.3   51.3      42.3       52.3"
      ].join("\n")
    )
  })

  it("has mean and spread over seeds, and the mAP of each", () => {
    expect(ablationTable([row("source-only", 30, 34), row("mmt", 40, 42)], [1, 2]).split("\n")).toEqual([
      "target test, %   mAP  min–max    top-1  min–max    best mAP  min–max    its top-1  min–max",
      "source-only     32.0  30.0–34.0   42.0  40.0–44.0      33.0  31.0–35.0       43.0  41.0–45.0",
      "mmt             41.0  40.0–42.0   51.0  50.0–52.0      42.0  41.0–43.0       52.0  51.0–53.0",
      "",
      "mAP by seed     1     2",
      "source-only  30.0  34.0",
      "mmt          40.0  42.0"
    ])
  })
})
