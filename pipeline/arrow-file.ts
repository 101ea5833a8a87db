/**
 * Arrow files as inlets and outlets of stages: reading takes IPC file and stream format, checks columns and metadata,
 * and holds one record batch at a time; writing is atomic and digests what it writes.
 */
import { createHash } from "node:crypto"
import { type FileHandle, open, rename, rm, stat } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import {
  type Schema as ArrowSchema,
  type AsyncRecordBatchStreamReader,
  Message,
  type RecordBatch,
  RecordBatchFileWriter,
  RecordBatchReader,
  util
} from "apache-arrow"
import { Effect, Schema, Scope, Stream } from "effect"
import { makeFolder } from "#data/make-folder.ts"
import { Bookkeeping } from "#pipeline/bookkeeping.ts"
import type { Inlet } from "#pipeline/stage.ts"
import { arrowFileProblem } from "#schemas/arrow-structure.ts"
import {
  type Artifact,
  type ArtifactError,
  ArtifactUnreadable,
  cellError,
  columnError,
  metadataOf
} from "#schemas/artifact.ts"

/** Why a file could not be read, as a reader threw it. */
export const readProblem = (cause: unknown): string => {
  const code = (cause as NodeJS.ErrnoException).code
  if (code === "ENOENT") return "there is no such file"
  if (code === "EISDIR") return "it is a folder"
  const message = cause instanceof Error ? cause.message : String(cause)
  return message.includes("codec not found") ? "its record batches are compressed; write it uncompressed" : message
}

/** What is wrong with a file, if anything: Arrow's reader takes any bytes for lengths and places. */
const fileProblem = async (file: FileHandle): Promise<string | undefined> => {
  const stats = await file.stat()
  if (!stats.isFile()) return stats.isDirectory() ? "it is a folder" : "it is no plain file"
  return arrowFileProblem(file.fd, stats.size)
}

/** A reader on an Arrow file (IPC file or stream format) that has read the schema. Rejects with what is wrong. */
export const openReader = async (file: FileHandle): Promise<AsyncRecordBatchStreamReader> => {
  const problem = await fileProblem(file)
  if (problem !== undefined) throw new Error(problem)
  const reader = await (await RecordBatchReader.from(file)).open()
  // The types do not tell that a stream may end before its schema.
  if (!reader.schema) throw new Error("it holds no schema")
  return reader
}

/** Checks one batch against the port's artifact: columns, nulls, metadata. */
export const checkedBatch = (
  artifact: Artifact,
  batch: RecordBatch,
  source: string
): Effect.Effect<RecordBatch, ArtifactError> => {
  const wrong = columnError(artifact, batch.schema, source) ?? cellError(artifact, batch, source)
  if (wrong !== undefined) return Effect.fail(wrong)
  return Effect.as(Effect.fromResult(metadataOf(artifact, batch, source)), batch)
}

/** The record batches of one Arrow file (IPC file or stream format), one in memory at a time. */
export const readBatches = (artifact: Artifact, file: string): Stream.Stream<RecordBatch, ArtifactError> => {
  const unreadable = (cause: unknown) =>
    new ArtifactUnreadable({ artifact: artifact.name, source: file, problem: readProblem(cause) })
  const opened = Effect.gen(function* () {
    const handle = yield* Effect.acquireRelease(
      Effect.tryPromise({ try: () => open(file, "r"), catch: unreadable }),
      (h) => Effect.promise(() => h.close().catch(() => {}))
    )
    const reader = yield* Effect.tryPromise({ try: () => openReader(handle), catch: unreadable })
    const wrong = columnError(artifact, reader.schema, file)
    if (wrong !== undefined) return yield* wrong
    return Stream.fromAsyncIterable(reader as AsyncIterable<RecordBatch>, unreadable)
  })
  return Stream.unwrap(opened).pipe(
    Stream.rechunk(1),
    Stream.mapEffect((batch) => checkedBatch(artifact, batch, file))
  )
}

/** Files of one artifact, in order, as what an input port takes. */
export const inletOf = <A extends Artifact>(artifact: A, files: ReadonlyArray<string>): Inlet<A> => ({
  artifact,
  source: files.length === 0 ? `no ${artifact.name}` : files.length === 1 ? files[0]! : dirname(files[0]!),
  files,
  batches: Stream.fromIterable(files).pipe(Stream.flatMap((file) => readBatches(artifact, file)))
})

/** A file could not be written: disk full, no permission, folder gone. Nothing is left of it. */
export class WriteFailed extends Schema.TaggedError<WriteFailed>()("WriteFailed", {
  file: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `${this.file}: cannot be written: ${this.problem}`
  }
  /** The error of a file that the file system refused. */
  static of(file: string) {
    return (cause: unknown) =>
      new WriteFailed({ file, problem: cause instanceof Error ? cause.message : String(cause) })
  }
}

export interface WrittenFile {
  readonly file: string
  readonly rows: number
  readonly bytes: number
  readonly sha256: string
  /** Time of its last change, milliseconds. */
  readonly modified: number
}

/** Arrow's file writer with its bytes in hand, so that they can be hashed and written as they come. */
class ChunkWriter extends RecordBatchFileWriter {
  #chunks: Array<Uint8Array> = []
  protected override _write(chunk: ArrayBufferView) {
    const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    if (bytes.length > 0) this.#chunks.push(bytes)
    this._position += bytes.length
    return this
  }
  // Arrow's own file writer leaves out the schema message, which the format has before the first batch.
  protected override _writeSchema(schema: ArrowSchema) {
    super._writeSchema(schema)
    return this._writeMessage(Message.from(schema))
  }
  take(): Array<Uint8Array> {
    const chunks = this.#chunks
    this.#chunks = []
    return chunks
  }
}

/** Brings the names of a folder's files to the disk. */
const syncFolder = async (path: string) => {
  const folder = await open(path, "r")
  await folder.sync().finally(() => folder.close())
}

/**
 * An Arrow IPC file under way. It becomes visible under its name when it is finished, by a rename after fsync, so that a
 * kill or a failure leaves either nothing or a whole file.
 */
export const openArrowFile = (file: string) =>
  Effect.gen(function* () {
    const isKept = yield* Bookkeeping
    const attempt = <A>(action: () => Promise<A>) => Effect.tryPromise({ try: action, catch: WriteFailed.of(file) })
    const partial = join(dirname(file), `.${basename(file)}.${process.pid}.partial`)
    const handle = yield* Effect.acquireRelease(
      attempt(async () => {
        await makeFolder(dirname(file))
        return open(partial, "w")
      }),
      (h) =>
        Effect.promise(() =>
          h
            .close()
            .catch(() => {})
            .then(() => rm(partial, { force: true }))
            .catch(() => {})
        )
    )
    const writer = new ChunkWriter()
    const hash = createHash("sha256")
    let schema: ArrowSchema | undefined
    let rows = 0
    let bytes = 0
    const flush = () =>
      attempt(async () => {
        const chunks = writer.take()
        const expected = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
        if (isKept) for (const chunk of chunks) hash.update(chunk)
        const { bytesWritten } = await handle.writev(chunks)
        // What the system did not take at once it takes now, or says why not, as of a full disk.
        if (bytesWritten < expected) await handle.writeFile(Buffer.concat(chunks).subarray(bytesWritten))
        bytes += expected
      })
    return {
      rows: () => rows,
      write: (batch: RecordBatch) => {
        // Arrow's writer would end the file here and begin another one in it.
        schema ??= batch.schema
        if (!util.compareSchemas(schema, batch.schema))
          return Effect.fail(new WriteFailed({ file, problem: "its record batches do not all have the same columns" }))
        rows += batch.numRows
        writer.write(batch)
        return flush()
      },
      finish: () => {
        writer.finish()
        const visible = attempt(async () => {
          if (isKept) await handle.sync()
          await rename(partial, file)
          if (isKept) await syncFolder(dirname(file))
          await handle.close()
          const { mtimeMs } = await stat(file)
          return { file, rows, bytes, sha256: hash.digest("hex"), modified: mtimeMs } satisfies WrittenFile
        })
        return Effect.andThen(flush(), visible)
      }
    }
  })

/**
 * Writes a stream of record batches as Arrow IPC files of about `rowsPerFile` rows each (whole record batches), named by
 * `nameOf`. An empty stream writes nothing.
 */
export const writeBatches = <E, R>(
  nameOf: (index: number) => string,
  rowsPerFile: number,
  batches: Stream.Stream<RecordBatch, E, R>
): Effect.Effect<ReadonlyArray<WrittenFile>, E | WriteFailed, R> =>
  Effect.scoped(
    Effect.gen(function* () {
      const written: Array<WrittenFile> = []
      let current: Effect.Success<ReturnType<typeof openArrowFile>> | undefined
      const finish = Effect.suspend(() => (current ? current.finish() : Effect.undefined)).pipe(
        Effect.tap((file) =>
          Effect.sync(() => {
            if (file) written.push(file)
            current = undefined
          })
        )
      )
      const scope = yield* Effect.scope
      yield* Stream.runForEach(batches, (batch) =>
        Effect.gen(function* () {
          current ??= yield* Scope.provide(openArrowFile(nameOf(written.length)), scope)
          yield* current.write(batch)
          if (current.rows() >= rowsPerFile) yield* finish
        })
      )
      yield* finish
      return written
    })
  )
