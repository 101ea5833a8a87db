/** A clustering too large for a peer that holds all pairs: our side alone, its time and the most memory that it holds. */
import { Console, Effect, FileSystem } from "effect"
import { givenFolder } from "./comparison.ts"
import { runProgram, startSide } from "./side-process.ts"

const rows = 100_000
const dimension = 256

/** Less than in the case `jaccard`: fewer numbers tell people apart less well. */
const noise = 1.5

/** Clusters by DBSCAN as the case `jaccard` does, once, in a process of its own. */
export const clusterLarge = Effect.fn("clusterLarge")(function* (node: string) {
  const fs = yield* FileSystem.FileSystem
  const root = yield* fs.makeTempDirectoryScoped({ prefix: "mmt-bench-" })
  process.stderr.write(`drawing and clustering ${rows} embeddings of ${dimension} numbers\n`)
  const inputs = { file: "ours/jaccard-inputs.ts", args: [String(rows), String(dimension), String(noise)] }
  yield* runProgram(node, givenFolder(inputs, root))
  const { introduction } = yield* startSide(node, givenFolder({ file: "ours/jaccard.ts", args: [] }, root))
  const { values, settings, firstStep = Number.NaN, peakBytes = Number.NaN } = introduction
  const labels = values.labels!
  const clusters = new Set(labels.filter((label) => label >= 0)).size
  const outliers = labels.filter((label) => label < 0).length
  yield* Console.log(
    [
      `${rows} embeddings of ${dimension} numbers: ${firstStep.toFixed(0)} s, peak memory ${(peakBytes / 1e9).toFixed(2)} GB`,
      `  ${clusters} clusters, ${outliers} outliers; ${settings}`
    ].join("\n")
  )
}, Effect.scoped)
