/** A run's folder opened for questions: its run file, its manifest, and who made the artifact of a digest. */
import { join, normalize } from "node:path"
import { Effect, Schema } from "effect"
import { readManifest, type StepRecord, type TaskRecord } from "#pipeline/manifest.ts"
import type { RunConfig } from "#pipeline/run-file.ts"
import { runFileOf } from "#pipeline/score.ts"
import { ArtifactUnreadable } from "#schemas/artifact.ts"

/** A file of the run, and what the manifest says of it. */
export interface RecordedFile {
  readonly task: string
  /** The output port; of what the tap kept, `tap NAME`. */
  readonly port: string
  readonly artifact: string
  readonly columns: Readonly<Record<string, string>>
  readonly path: string
  readonly rows: number
  readonly bytes: number
  readonly sha256: string
  readonly modified: number
}

export interface OpenRun {
  readonly folder: string
  readonly config: RunConfig
  readonly tasks: ReadonlyMap<string, TaskRecord>
  readonly files: ReadonlyArray<RecordedFile>
  readonly byDigest: ReadonlyMap<string, RecordedFile>
}

const filesOf = (task: string, { outputs, taps = {} }: TaskRecord): ReadonlyArray<RecordedFile> => {
  const ports = [
    ...Object.entries(outputs),
    ...Object.entries(taps).map(([kind, output]) => [`tap ${kind}`, output] as const)
  ]
  return ports.flatMap(([port, { artifact, columns, files }]) =>
    files.map((file) => ({ task, port, artifact, columns, ...file }))
  )
}

/** Opens a run's folder. Fails where it is none, or where its run file or manifest cannot be read. */
export const openRun = (given: string) =>
  Effect.gen(function* () {
    // As `join` writes it, so that files' places in errors begin with it.
    const folder = normalize(given).replace(/(?<=.)\/+$/, "")
    const config = yield* runFileOf(folder)
    const tasks = yield* readManifest(folder)
    const files = [...tasks].flatMap(([task, record]) => filesOf(task, record))
    const byDigest = new Map(files.map((file) => [file.sha256, file]))
    return { folder, config, tasks, files, byDigest } satisfies OpenRun
  })

/** Where a recorded file lies. */
export const placeOf = (run: OpenRun, { path }: Pick<RecordedFile, "path">) => join(run.folder, path)

/** The files that a step took in at a port; one that is no artifact of the run is left out. */
export const inputFiles = (run: OpenRun, digests: ReadonlyArray<string> = []): ReadonlyArray<RecordedFile> =>
  digests.flatMap((digest) => run.byDigest.get(digest) ?? [])

/** The file of a task's output port that has but one. */
export const outputFile = (run: OpenRun, task: string, port: string): RecordedFile | undefined =>
  run.files.find((file) => file.task === task && file.port === port)

/** What a task's stage was called with: parameters and input digests. */
export const stepOf = (record: TaskRecord, stage: string) => record.steps.find((step) => step.stage === stage)

/** The recorded parameters of a step, with defaults for those that came later. Fails where they are not the stage's. */
export const recordedParams = <P>(schema: Schema.Codec<P, unknown>, { stage, params }: StepRecord) =>
  Schema.decodeUnknownEffect(schema)(params).pipe(
    Effect.mapError(
      ({ message }) =>
        new ArtifactUnreadable({
          artifact: `parameters of ${stage}`,
          source: "manifest.json",
          problem: message.replaceAll("\n", " ")
        })
    )
  )
