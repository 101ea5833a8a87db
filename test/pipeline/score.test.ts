/** The best network of each adaptation. */
import { describe, expect, it } from "vitest"
import { bestNetworks, type ScoredRow } from "#pipeline/score.ts"

const row = (name: string, epoch: number, ...mAP: ReadonlyArray<number>): ScoredRow => ({
  name,
  epoch,
  tasks: mAP.map((_, i) => `evaluate/epoch-00${epoch}/teacher-${i + 1}`),
  networks: mAP.map((value) => ({ mAP: value })),
  mean: { mAP: mAP.reduce((a, b) => a + b) / mAP.length },
  checkpoint: epoch > 0 ? `train/epoch-00${epoch}/checkpoint.arrow` : undefined
})

describe("the best networks", () => {
  it("have the highest mAP of their adaptation in any epoch, not the highest mean; the first one of equals", () => {
    const rows = [
      row("source-only", 0, 90, 90),
      row("a", 1, 50, 20),
      row("a", 2, 45, 45),
      row("b", 1, 7, 8),
      row("b", 2, 8, 6)
    ]
    expect(bestNetworks(rows)).toEqual([
      {
        name: "a",
        epoch: 1,
        network: "teacher-1",
        scores: { mAP: 50 },
        checkpoint: "train/epoch-001/checkpoint.arrow"
      },
      { name: "b", epoch: 1, network: "teacher-2", scores: { mAP: 8 }, checkpoint: "train/epoch-001/checkpoint.arrow" }
    ])
  })

  it("are none where nothing is adapted", () => {
    expect(bestNetworks([row("source-only", 0, 30, 40)])).toEqual([])
  })
})
