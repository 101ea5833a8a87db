/** Reads what the charts of a run show, and each part of it again only where its artifacts are others. */
import { createHash } from "node:crypto"
import { Effect } from "effect"
import { readManifest } from "#pipeline/manifest.ts"
import type { ChartData } from "#report/charts.ts"
import { clusterings } from "#report/clusterings.ts"
import { lossCurves } from "#report/losses.ts"
import { type RunData, readRun } from "#report/run-data.ts"
import { teacherDistances } from "#report/teachers.ts"
import { checkRecordedFiles } from "#serve/run-folders.ts"

export type ChartReader = ReturnType<typeof chartReader>

/** The run file, and the digests of all artifacts at the ports of this name. */
const keyOf = ({ records, runFile }: RunData, port: string) => {
  const hash = createHash("sha256").update(runFile)
  for (const { outputs } of records.values()) for (const { sha256 } of outputs[port]?.files ?? []) hash.update(sha256)
  return hash.digest("hex")
}

/** A reader that keeps its last result, until the artifacts at a port are others. */
const kept = <A, E>(port: string, read: (run: RunData) => Effect.Effect<A, E>) => {
  let last: { readonly key: string; readonly value: A } | undefined
  return (run: RunData) =>
    Effect.suspend(() => {
      const key = keyOf(run, port)
      if (last?.key === key) return Effect.succeed(last.value)
      return Effect.tap(read(run), (value) =>
        Effect.sync(() => {
          last = { key, value }
        })
      )
    })
}

export const chartReader = (folder: string) => {
  const known = new Set<string>()
  const readers = {
    losses: kept("train-metrics", lossCurves),
    clusterings: kept("pseudo-labels", clusterings),
    teachers: kept("checkpoint", teacherDistances)
  }
  const read = Effect.gen(function* () {
    yield* checkRecordedFiles(folder, yield* readManifest(folder), known)
    const run = yield* readRun(folder)
    return {
      run,
      losses: yield* readers.losses(run),
      clusterings: yield* readers.clusterings(run),
      teachers: yield* readers.teachers(run)
    } satisfies ChartData
  })
  return { read }
}
