/**
 * The manifest of a run: of each task that is done, what it was made by and what it made. A task is done when its key is
 * there with files that match; that one rule gives caching, resume and staleness.
 */
import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import { open, readFile, rename, rm, stat } from "node:fs/promises"
import { dirname, join } from "node:path"
import { pipeline } from "node:stream/promises"
import { Effect, Schema } from "effect"
import { makeFolder } from "#data/make-folder.ts"
import { WriteFailed } from "#pipeline/arrow-file.ts"
import { Bookkeeping } from "#pipeline/bookkeeping.ts"

export const ArtifactFile = Schema.Struct({
  /** Relative to the run's folder. */
  path: Schema.String,
  rows: Schema.Int,
  bytes: Schema.Int,
  sha256: Schema.String,
  /** When it was written, milliseconds; while the file still has it, its bytes are taken as unchanged. */
  modified: Schema.Finite
})
export type ArtifactFile = typeof ArtifactFile.Type

export const StepRecord = Schema.Struct({
  stage: Schema.String,
  version: Schema.Int,
  params: Schema.Record(Schema.String, Schema.Unknown),
  /** By port: digests of what came in. */
  inputs: Schema.Record(Schema.String, Schema.Array(Schema.String))
})
export type StepRecord = typeof StepRecord.Type

/** The files of one output port, or of what the tap kept of one kind. */
export const OutputRecord = Schema.Struct({
  artifact: Schema.String,
  /** Column types by name. */
  columns: Schema.Record(Schema.String, Schema.String),
  files: Schema.Array(ArtifactFile)
})
export type OutputRecord = typeof OutputRecord.Type

export const TaskRecord = Schema.Struct({
  /** Digest of `steps`: stage versions, parameters (the seed among them) and input digests. */
  key: Schema.String,
  steps: Schema.Array(StepRecord),
  outputs: Schema.Record(Schema.String, OutputRecord),
  /** What the tap kept, by kind. A task stays done without it. */
  taps: Schema.optionalKey(Schema.Record(Schema.String, OutputRecord)),
  engine: Schema.String,
  finished: Schema.String,
  seconds: Schema.Finite,
  /** Of tasks that train: steps taken, their mean time, and the share of the time that was spent waiting for a batch. */
  training: Schema.optionalKey(
    Schema.Struct({ steps: Schema.Int, stepMillis: Schema.Finite, waitingShare: Schema.Finite })
  ),
  /** Of a task that was run again by other settings: the run, the key of its own task, and the settings. */
  derivedFrom: Schema.optionalKey(
    Schema.Struct({ run: Schema.String, key: Schema.String, set: Schema.Record(Schema.String, Schema.Unknown) })
  )
})
export type TaskRecord = typeof TaskRecord.Type

const Manifest = Schema.Struct({ version: Schema.Literal(1), tasks: Schema.Record(Schema.String, TaskRecord) })

/** The manifest is not what this version of mmt writes. */
export class ManifestInvalid extends Schema.TaggedError<ManifestInvalid>()("ManifestInvalid", {
  file: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `${this.file}: ${this.problem.replaceAll("\n", " ")}. Choose another run folder, or remove this one to start anew.`
  }
}

export const manifestFile = (run: string) => join(run, "manifest.json")

/** The tasks that are recorded as done, by id; none for a run that does not exist yet. */
export const readManifest = (run: string): Effect.Effect<Map<string, TaskRecord>, ManifestInvalid> => {
  const file = manifestFile(run)
  const invalid = (problem: string) => new ManifestInvalid({ file, problem })
  return Effect.tryPromise({
    try: () => readFile(file, "utf8"),
    catch: (cause) => cause as NodeJS.ErrnoException
  }).pipe(
    Effect.flatMap(Schema.decodeUnknownEffect(Schema.fromJsonString(Manifest))),
    Effect.map(({ tasks }) => new Map(Object.entries(tasks))),
    Effect.catch((cause) => {
      if ("code" in cause && cause.code === "ENOENT") return Effect.succeed(new Map<string, TaskRecord>())
      return Effect.fail(invalid(cause.message))
    })
  )
}

/** Writes a file so that it is whole or not there: beside it, synced, renamed. */
export const writeWhole = (file: string, content: string | Uint8Array): Effect.Effect<void, WriteFailed> => {
  const partial = `${file}.${process.pid}.partial`
  const write = async () => {
    await makeFolder(dirname(file))
    const handle = await open(partial, "w")
    try {
      await handle.writeFile(content)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(partial, file)
  }
  return Effect.tryPromise({
    try: () =>
      write().catch(async (cause) => {
        await rm(partial, { force: true }).catch(() => {})
        throw cause
      }),
    catch: WriteFailed.of(file)
  }).pipe(Effect.uninterruptible)
}

/** The text of each record, two levels deep: a run writes its manifest after each task, and all but one are as before. */
const texts = new WeakMap<TaskRecord, string>()

const textOf = (record: TaskRecord): string => {
  const text = texts.get(record) ?? JSON.stringify(record, null, 1).replaceAll("\n", "\n  ")
  texts.set(record, text)
  return text
}

export const writeManifest = (run: string, tasks: ReadonlyMap<string, TaskRecord>) =>
  Effect.gen(function* () {
    if (!(yield* Bookkeeping)) return
    const records = Array.from(tasks, ([id, record]) => `\n  ${JSON.stringify(id)}: ${textOf(record)}`)
    const held = records.length > 0 ? `{${records.join(",")}\n }` : "{}"
    yield* writeWhole(manifestFile(run), `{\n "version": 1,\n "tasks": ${held}\n}\n`)
  })

/** Digest of what a task is made by. */
export const keyOf = (steps: ReadonlyArray<StepRecord>): string =>
  createHash("sha256").update(canonical(steps)).digest("hex")

/** JSON that is the same for every order of keys. */
export const canonical = (value: unknown): string => JSON.stringify(sorted(value))

const sorted = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sorted(inner)])
  )
}

export const sha256Of = async (file: string): Promise<string> => {
  const hash = createHash("sha256")
  await pipeline(createReadStream(file), hash)
  return hash.digest("hex")
}

/** What is wrong with a recorded file, if anything: it is gone, or its bytes are others. */
export const fileProblem = async (run: string, file: ArtifactFile): Promise<string | undefined> => {
  const path = join(run, file.path)
  const found = await stat(path).catch(() => undefined)
  if (found === undefined) return `${file.path} is missing`
  if (found.size !== file.bytes) return `${file.path} has ${found.size} bytes, ${file.bytes} were written`
  if (found.mtimeMs === file.modified) return undefined
  return (await sha256Of(path)) === file.sha256 ? undefined : `${file.path} was changed`
}
