/**
 * Single rows of `images` artifacts by their place in the file: the columns beside the pixels are kept in memory, the
 * pixels of an image are read when it is wanted. A data set is never loaded whole.
 */
import { type FileHandle, open, stat } from "node:fs/promises"
import {
  Message,
  type MetadataVersion,
  type RecordBatch,
  RecordBatchReader,
  type Schema,
  Table,
  tableToIPC
} from "apache-arrow"
import { Effect } from "effect"
import { arrowFileProblem, bufferCount } from "#schemas/arrow-structure.ts"
import {
  type ArtifactError,
  ArtifactUnreadable,
  cellError,
  columnError,
  metadataOf,
  viewOf
} from "#schemas/artifact.ts"
import { images, pixelsError } from "#schemas/images.ts"

/** Where the pixels of one image lie: height · width · 3 bytes from `offset` on. */
export interface PixelPlace {
  readonly file: string
  readonly offset: number
}

/** The places of several images: image i lies in file `files[fileOf[i]]`. Cheap to send to a thread, as an object for each image is not. */
export interface PixelPlaces {
  readonly files: ReadonlyArray<string>
  readonly fileOf: Int32Array
  readonly offsets: Float64Array
}

export const pixelPlaces = (places: ReadonlyArray<PixelPlace>): PixelPlaces => {
  const files = [...new Set(places.map(({ file }) => file))]
  return {
    files,
    fileOf: Int32Array.from(places, ({ file }) => files.indexOf(file)),
    offsets: Float64Array.from(places, ({ offset }) => offset)
  }
}

export interface ImageRow {
  readonly image: string
  readonly person: number
  readonly camera: number
  readonly place: PixelPlace
}

export interface ImageRows {
  readonly height: number
  readonly width: number
  readonly rows: ReadonlyArray<ImageRow>
}

type BatchHeader = ReturnType<Message<3>["header"]>

const pixelBuffer = (schema: Schema, header: BatchHeader, version: MetadataVersion): number => {
  const views = header.variadicBufferCounts[Symbol.iterator]()
  const before = schema.fields.slice(0, schema.names.indexOf("pixels"))
  // The buffer of validity comes before that of the values.
  return before.reduce((sum, field) => sum + bufferCount(field.type, views, version), 0) + 1
}

interface Envelope {
  readonly message: Message
  /** From the message's first byte to its body, and to its end. */
  readonly start: number
  readonly body: number
  readonly end: number
}

/** Where the messages of an open file begin, and where the last one must have ended. */
interface Extent {
  readonly handle: FileHandle
  readonly start: number
  readonly end: number
}

const magic = "ARROW1"

const cutOff = () => new Error("it ends too early, as an interrupted download or a full disk leaves it")

const readAt = async (handle: FileHandle, length: number, position: number): Promise<Buffer<ArrayBuffer>> => {
  const bytes = Buffer.alloc(length)
  const { bytesRead } = await handle.read(bytes, 0, length, position)
  if (bytesRead < length) throw cutOff()
  return bytes
}

/** Of an IPC file, what lies between the magic and the footer; a stream takes up the whole file. */
const extentOf = async (handle: FileHandle): Promise<Extent> => {
  const { size } = await handle.stat()
  const head = await readAt(handle, Math.min(size, magic.length), 0)
  if (head.toString("latin1") !== magic) return { handle, start: 0, end: size }
  if (size < 2 * magic.length + 6) throw cutOff()
  const tail = await readAt(handle, 4 + magic.length, size - 4 - magic.length)
  const end = size - tail.length - tail.readInt32LE(0)
  if (tail.toString("latin1", 4) !== magic || end < 8) throw cutOff()
  return { handle, start: 8, end }
}

/** The message at this place; undefined at the end. */
const envelopeAt = async ({ handle, end }: Extent, start: number): Promise<Envelope | undefined> => {
  // A stream may end without a mark.
  if (start === end) return undefined
  if (start + 4 > end) throw cutOff()
  // Files of before Arrow 0.15 have no continuation marker.
  const first = (await readAt(handle, 4, start)).readInt32LE(0)
  const marked = first === -1
  if (marked && start + 8 > end) throw cutOff()
  const length = marked ? (await readAt(handle, 4, start + 4)).readInt32LE(0) : first
  if (length === 0) return undefined
  const metadata = start + (marked ? 8 : 4)
  const body = metadata + length
  if (length < 0 || body > end) throw start === 0 ? new Error("it is no Arrow file or stream") : cutOff()
  const message = decoded(await readAt(handle, length, metadata))
  if (body + message.bodyLength > end) throw cutOff()
  return { message, start, body, end: body + message.bodyLength }
}

const decoded = (metadata: Uint8Array): Message => {
  try {
    return Message.decode(metadata)
  } catch {
    throw new Error("it is no Arrow file or stream, or it is damaged")
  }
}

/** The record batch of this message with zeros for pixels: everything else is read. */
const withoutPixels = async (handle: FileHandle, head: Uint8Array, envelope: Envelope, schema: Schema) => {
  const { message, start, body, end } = envelope
  const header = message.header() as BatchHeader
  if (header.compression !== null) {
    throw new Error("its pixels are compressed; write it uncompressed, so that rows can be fetched")
  }
  const pixels = header.buffers[pixelBuffer(schema, header, message.version)]!
  const [from, to] = [body + pixels.offset, body + pixels.offset + pixels.length]
  const bytes = new Uint8Array(head.length + end - start)
  bytes.set(head)
  bytes.set(await readAt(handle, from - start, start), head.length)
  bytes.set(await readAt(handle, end - to, to), head.length + to - start)
  const batch = RecordBatchReader.from(bytes).next().value as RecordBatch
  return { batch, pixelsAt: from }
}

/** The schema as a stream starts with it, without the mark of the stream's end. */
const schemaMessage = (schema: Schema) => tableToIPC(new Table(schema), "stream").slice(0, -8)

const reason = (cause: unknown) =>
  (cause as NodeJS.ErrnoException).code === "ENOENT" ? "there is no such file" : (cause as Error).message

const rowsOfFile = (file: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const unreadable = (cause: unknown) =>
        new ArtifactUnreadable({ artifact: images.name, source: file, problem: reason(cause) })
      const attempt = <A>(action: () => Promise<A>) => Effect.tryPromise({ try: action, catch: unreadable })
      const handle = yield* Effect.acquireRelease(
        attempt(() => open(file, "r")),
        (h) => Effect.promise(() => h.close())
      )
      const { size: bytes } = yield* attempt(() => handle.stat())
      const problem = arrowFileProblem(handle.fd, bytes)
      if (problem !== undefined) return yield* unreadable(new Error(problem))
      const extent = yield* attempt(() => extentOf(handle))
      let position = extent.start
      const { schema } = yield* attempt(async () => (await RecordBatchReader.from(handle)).open())
      if (!schema) return yield* unreadable(new Error("it is empty or no Arrow file"))
      const wrong = columnError(images, schema, file)
      if (wrong !== undefined) return yield* wrong
      // The schema and the dictionaries, which are read anew with each batch.
      let head = schemaMessage(schema)
      let size: { height: number; width: number } | undefined
      const rows: Array<ImageRow> = []
      while (true) {
        const envelope = yield* attempt(() => envelopeAt(extent, position))
        if (envelope === undefined) break
        position = envelope.end
        if (envelope.message.isSchema()) continue
        if (!envelope.message.isRecordBatch()) {
          const part = yield* attempt(() => readAt(handle, envelope.end - envelope.start, envelope.start))
          head = Buffer.concat([head, part])
          continue
        }
        const { batch, pixelsAt } = yield* attempt(() => withoutPixels(handle, head, envelope, schema))
        const nulls = cellError(images, batch, file)
        if (nulls !== undefined) return yield* nulls
        size = yield* Effect.fromResult(metadataOf(images, batch, file))
        const unfit = pixelsError(batch, size, file)
        if (unfit !== undefined) return yield* unfit
        const { image, person, camera } = viewOf(images, batch)
        const bytes = size.height * size.width * 3
        for (const [row, name] of image.entries()) {
          const place = { file, offset: pixelsAt + row * bytes }
          rows.push({ image: name, person: person[row]!, camera: camera[row]!, place })
        }
      }
      if (size === undefined) return yield* unreadable(new Error("it holds no record batch"))
      return { height: size.height, width: size.width, rows } satisfies ImageRows
    })
  )

/** What the files hold that were read in this process: an epoch asks for the rows of the one before. */
const known = new Map<string, { readonly state: string; readonly rows: ImageRows }>()

const knownRowsOf = (file: string) =>
  Effect.gen(function* () {
    const state = yield* Effect.promise(() =>
      stat(file).then(
        ({ ino, size, mtimeMs }) => [ino, size, mtimeMs].join(),
        () => "missing"
      )
    )
    const before = known.get(file)
    if (before?.state === state) return before.rows
    const rows = yield* rowsOfFile(file)
    known.set(file, { state, rows })
    return rows
  })

/** The rows of all these `images` files, in order; their images must be of one size. */
export const imageRows = (files: ReadonlyArray<string>): Effect.Effect<ImageRows, ArtifactError> =>
  Effect.gen(function* () {
    const parts = yield* Effect.forEach(files, knownRowsOf)
    const { height, width } = parts[0]!
    const other = parts.findIndex((part) => part.height !== height || part.width !== width)
    if (other >= 0) {
      const found = `images of ${parts[other]!.height}×${parts[other]!.width}, the files before it ${height}×${width}`
      return yield* new ArtifactUnreadable({ artifact: images.name, source: files[other]!, problem: found })
    }
    return { height, width, rows: parts.flatMap((part) => part.rows) }
  })
