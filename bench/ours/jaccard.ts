/** DBSCAN as the cluster stage runs it, of embeddings.arrow, reading them included: node jaccard.ts FOLDER */
import { join } from "node:path"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Schema, Stream } from "effect"
import { Session } from "#engine/session.ts"
import { JaccardThreads } from "#model/jaccard.ts"
import { inletOf } from "#pipeline/arrow-file.ts"
import { viewOf } from "#schemas/artifact.ts"
import { embeddings } from "#schemas/embeddings.ts"
import { pseudoLabels } from "#schemas/pseudo-labels.ts"
import { ClusterParams, clusterStage } from "#stages/cluster.ts"
import { peakBytes, serve } from "../side.ts"
import { settingsOf } from "./settings.ts"

const [folder] = process.argv.slice(2) as [string]

const clustering = Effect.gen(function* () {
  const outlets = yield* clusterStage.run(
    {
      embeddings: inletOf(embeddings, [join(folder, "embeddings.arrow")]),
      "initial-centroids": undefined,
      "first-pseudo-labels": undefined
    },
    yield* Schema.decodeUnknownEffect(ClusterParams)({ algorithm: "dbscan", eps: 0.6, k1: 30, k2: 6, minSamples: 4 })
  )
  const labelled = yield* Stream.runCollect(outlets["pseudo-labels"])
  return labelled.flatMap((batch) => [...viewOf(pseudoLabels, batch).label])
})

const program = Effect.gen(function* () {
  const { tf } = yield* Session
  const labels = yield* Effect.scoped(clustering)
  const measured = { firstStep: performance.now() / 1000, peakBytes: peakBytes() }
  const settings = `${settingsOf(tf)}, ${yield* JaccardThreads} threads of rows`
  yield* serve(
    { labels },
    settings,
    (count) => Effect.repeat(Effect.scoped(clustering), { times: count - 1 }),
    measured
  )
})

NodeRuntime.runMain(program.pipe(Effect.provide(Session.layer)))
