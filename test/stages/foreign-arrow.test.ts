import { join } from "node:path"
import { Effect, Schema } from "effect"
import { describe, expect, it } from "vitest"
import { inletOf } from "#pipeline/arrow-file.ts"
import { viewOf } from "#schemas/artifact.ts"
import { embeddings } from "#schemas/embeddings.ts"
import { metrics } from "#schemas/metrics.ts"
import { pseudoLabels } from "#schemas/pseudo-labels.ts"
import { ClusterParams, clusterStage } from "#stages/cluster.ts"
import { EvaluateParams, evaluateStage } from "#stages/evaluate.ts"
import { drain, run } from "./run-stage.ts"

// Written by pyarrow (test/foreign/make.py): columns in another order, further ones, no metadata.
const foreign = (name: string) => join(import.meta.dirname, "../foreign", name)
const gallery = foreign("gallery.arrow")
const query = foreign("query.arrows")

describe("Arrow files of another tool", () => {
  it.each([
    ["an IPC file of three record batches", gallery, 9],
    ["an IPC stream", query, 3]
  ])("%s: its persons become the clusters", (_, file, rows) =>
    run(
      Effect.gen(function* () {
        const params = yield* Schema.decodeUnknownEffect(ClusterParams)({ classes: 3 })
        const inputs = {
          embeddings: inletOf(embeddings, [file]),
          "initial-centroids": undefined,
          "first-pseudo-labels": undefined
        }
        const labelled = (yield* drain(yield* clusterStage.run(inputs, params)))["pseudo-labels"]
        const labels = labelled.flatMap((batch) => [...viewOf(pseudoLabels, batch).label])
        expect(labels.length).toBe(rows)
        expect(new Set(labels.slice(0, 3)).size).toBe(3)
        for (const [row, label] of labels.entries()) expect(label).toBe(labels[row % 3])
        for (const batch of labelled) {
          expect(batch.schema.names).toEqual(["image", "label", "note", "weather"])
          expect(["sun", "rain"]).toContain(batch.getChild("weather")!.get(0))
        }
      })
    )
  )

  it("every person is found again, first of all", () =>
    run(
      Effect.gen(function* () {
        const params = yield* Schema.decodeUnknownEffect(EvaluateParams)({})
        const inputs = { query: inletOf(embeddings, [query]), gallery: inletOf(embeddings, [gallery]) }
        const out = yield* drain(yield* evaluateStage.run(inputs, params))
        const { name, value } = viewOf(metrics, out.metrics[0]!)
        expect(Object.fromEntries(name.map((key, row) => [key, value[row]]))).toEqual({
          mAP: 1,
          "top-1": 1,
          "top-5": 1,
          "top-10": 1,
          queries: 3
        })
      })
    ))
})
