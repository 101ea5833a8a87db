/** A whole run with DBSCAN's clusters, whose number differs from epoch to epoch, and re-ranked scores. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type Table, tableFromIPC } from "apache-arrow"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { drawPair, type Ended, mmt, tinyRun, writeRunFile } from "./mmt.ts"

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

let home: string
let ended: Ended

const dbscan = tinyRun
  .replace("epochs: 2, iterations: 3, identities: 4", "epochs: 1, iterations: 3, identities: 4")
  .replace("classes: 5", "algorithm: dbscan, eps: auto, k1: 4, k2: 2, minSamples: 2")

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "mmt-dbscan-"))
  await drawPair(home)
  writeRunFile(home, `${dbscan}evaluate: { every: 2, rerank: true, k1: 5, k2: 2 }\n`)
  ended = await mmt(home, "run", "tiny.yaml", "--threads", "1")
})

afterAll(() => rmSync(home, { recursive: true, force: true }))

const tableOf = (task: string, port: string): Table =>
  tableFromIPC(readFileSync(join(home, "runs/tiny", task, `${port}.arrow`)))

describe("mmt run with DBSCAN", () => {
  it("ends well, and says that the scores are re-ranked", () => {
    expect(ended.code, ended.err).toBe(0)
    expect(ended.out).toMatch(/^\ntarget test, re-ranked, % +mAP/)
  })

  it("keeps the eps of the first epoch", () => {
    const eps = [1, 2].map((epoch) => tableOf(`cluster/epoch-00${epoch}`, "pseudo-labels").schema.metadata.get("eps"))
    expect(Number(eps[0])).toBeGreaterThan(0)
    expect(eps[1]).toBe(eps[0])
  })

  it.each([1, 2])(
    "trains a classifier of as many rows as epoch %i has clusters, on clustered images alone",
    (epoch) => {
      const labels = [...tableOf(`cluster/epoch-00${epoch}`, "pseudo-labels").getChild("label")!] as Array<number>
      const clusters = Math.max(...labels) + 1
      expect(clusters).toBeGreaterThan(1)
      expect(labels).toContain(-1)
      expect(tableOf(`cluster/epoch-00${epoch}`, "centroids").numRows).toBe(clusters)
      const weights = [...tableOf(`train/epoch-00${epoch}`, "checkpoint")].filter(
        (row) => row!.name === "classifier.weight"
      )
      expect(weights.map((row) => Number([...row!.shape][0]))).toEqual([clusters, clusters, clusters, clusters])
    }
  )

  it("says what to do where the clusters are too few for a batch", async () => {
    const { code, err } = await mmt(home, "run", "tiny.yaml", "--threads", "1", "--set", "adapt.identities=30")
    expect(code).toBe(1)
    expect(err).toMatch(
      /identities do not fill a batch of 30 × 2 images; choose fewer identities a batch, or settings that give more clusters /
    )
  })
})
