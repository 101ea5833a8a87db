/** Checks of every file by itself: its bytes, its columns, its rows; and of what the manifest says of where it came from. */
import { isAbsolute, normalize } from "node:path"
import { Effect, Stream } from "effect"
import type { Check, Findings } from "#audit/check.ts"
import { type OpenRun, placeOf, type RecordedFile } from "#audit/open-run.ts"
import { readBatches } from "#pipeline/arrow-file.ts"
import { fileProblem, keyOf } from "#pipeline/manifest.ts"
import { type StageName, stageOf } from "#pipeline/stages.ts"
import { artifacts } from "#schemas/artifacts.ts"

const leaves = (path: string) => isAbsolute(path) || normalize(path).startsWith("..")

const totalBytes = (files: ReadonlyArray<RecordedFile>) => files.reduce((sum, { bytes }) => sum + bytes, 0)

/** Runs over all files of the run; progress goes by their megabytes. */
const overFiles = (
  run: OpenRun,
  tell: (done: number, total: number) => void,
  look: (file: RecordedFile) => Effect.Effect<void>
) => {
  const total = totalBytes(run.files)
  let done = 0
  return Effect.forEach(
    run.files.filter(({ path }) => !leaves(path)),
    (file) =>
      Effect.tap(look(file), () => {
        done += file.bytes
        return Effect.sync(() => tell(done / 1e6, total / 1e6))
      }),
    { discard: true }
  )
}

export const checksums: Check = {
  name: "checksums",
  about: "every file has the bytes that were written",
  unit: "files",
  run: (run, findings, tell) => {
    for (const { path } of run.files)
      if (leaves(path)) findings.add({ file: "manifest.json", problem: `"${path}" leaves the run's folder` })
    return overFiles(run, tell, (file) =>
      Effect.gen(function* () {
        findings.checked++
        // No time of change is believed here: every byte is read.
        const problem = yield* Effect.promise(() => fileProblem(run.folder, { ...file, modified: Number.NaN }))
        if (problem !== undefined)
          findings.add({ file: file.path, problem: problem.slice(file.path.length + 1).trimStart() })
      })
    )
  }
}

const columnsProblem = (found: Readonly<Record<string, string>>, recorded: Readonly<Record<string, string>>) => {
  const name = [...new Set([...Object.keys(found), ...Object.keys(recorded)])].find(
    (column) => found[column] !== recorded[column]
  )
  if (name === undefined) return undefined
  return { column: name, problem: `${found[name] ?? "no such column"}, recorded was ${recorded[name] ?? "none"}` }
}

/** Reads a whole file, a record batch at a time, by its artifact's schema. */
const readWhole = (run: OpenRun, file: RecordedFile, findings: Findings) => {
  const artifact = artifacts.find(({ name }) => name === file.artifact)
  if (artifact === undefined) {
    findings.add({
      file: "manifest.json",
      problem: `${file.path} is recorded as "${file.artifact}", no known artifact`
    })
    return Effect.void
  }
  let rows = 0
  let differs: ReturnType<typeof columnsProblem>
  return Stream.runForEach(readBatches(artifact, placeOf(run, file)), (batch) =>
    Effect.sync(() => {
      rows += batch.numRows
      const found = Object.fromEntries(batch.schema.fields.map(({ name, type }) => [name, String(type)]))
      differs ??= columnsProblem(found, file.columns)
    })
  ).pipe(
    Effect.andThen(() => {
      if (differs) findings.add({ file: file.path, ...differs })
      if (rows !== file.rows) findings.add({ file: file.path, problem: `${rows} rows, recorded were ${file.rows}` })
      return Effect.void
    }),
    Effect.catch((error) => Effect.sync(() => findings.unreadable(file.path, error)))
  )
}

export const columns: Check = {
  name: "columns and rows",
  about: "every file has its artifact's columns without nulls, and as many rows as recorded",
  unit: "files",
  run: (run, findings, tell) =>
    overFiles(run, tell, (file) =>
      Effect.suspend(() => {
        findings.checked++
        return readWhole(run, file, findings)
      })
    )
}

/** The artifact that a stage takes in at a port, where both are known. */
const portArtifact = (stage: string, port: string): string | undefined => {
  const ports = stageOf(stage as StageName)?.inputs as Readonly<Record<string, { artifact: { name: string } }>>
  return ports?.[port]?.artifact.name
}

export const lineage: Check = {
  name: "lineage",
  about:
    "every input of every task is an artifact of the run, every output is recorded, and the keys are those of what is recorded",
  unit: "inputs",
  run: (run, findings) =>
    Effect.sync(() => {
      const wrong = (task: string, problem: string) =>
        findings.add({ file: "manifest.json", problem: `${task}: ${problem}` })
      for (const [task, { key, steps, outputs }] of run.tasks) {
        const ports = Object.keys(stageOf(steps.at(-1)?.stage as StageName)?.outputs ?? {})
        for (const port of ports) if (!(port in outputs)) wrong(task, `its output ${port} is not recorded`)
        if (keyOf(steps) !== key) wrong(task, "its key is not that of its stages, parameters and inputs")
        for (const { stage, inputs } of steps)
          for (const [port, digests] of Object.entries(inputs)) {
            // Image files are no artifacts of the run: a digest of their names, sizes and times stands for them.
            if (port === "dataset") continue
            findings.checked += digests.length
            for (const digest of digests) {
              const made = run.byDigest.get(digest)
              const short = `${digest.slice(0, 12)}…`
              if (made === undefined) wrong(task, `input ${port} of ${stage}, ${short}, is no artifact of this run`)
              else if (made.artifact !== (portArtifact(stage, port) ?? made.artifact))
                wrong(task, `input ${port} of ${stage} is ${made.path}, of another kind: ${made.artifact}`)
            }
          }
      }
    })
}
