/**
 * Single rows of `images` artifacts by their place in the file: the columns beside the pixels are kept in memory, the
 * pixels of an image are read when it is wanted. A data set is never loaded whole.
 */
import { type FileHandle, open } from "node:fs/promises"
import {
  type DataType,
  DataType as Is,
  Message,
  type RecordBatch,
  RecordBatchReader,
  type Schema,
  Table,
  tableToIPC
} from "apache-arrow"
import { Effect } from "effect"
import {
  type ArtifactError,
  ArtifactUnreadable,
  columnError,
  metadataOf,
  nullError,
  viewOf
} from "#schemas/artifact.ts"
import { images } from "#schemas/images.ts"

/** Where the pixels of one image lie: height · width · 3 bytes from `offset` on. */
export interface PixelPlace {
  readonly file: string
  readonly offset: number
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

/** How many buffers a column of this type has in a record batch; undefined where the batch itself decides. */
const bufferCount = (type: DataType): number => {
  const children = () => type.children.reduce((sum, child) => sum + bufferCount(child.type), 0)
  if (Is.isNull(type)) return 0
  if (Is.isUtf8(type) || Is.isBinary(type) || Is.isLargeUtf8(type) || Is.isLargeBinary(type)) return 3
  if (Is.isStruct(type) || Is.isFixedSizeList(type)) return 1 + children()
  if (Is.isList(type) || Is.isLargeList(type) || Is.isMap(type)) return 2 + children()
  return 2
}

const pixelBuffer = (schema: Schema): number => {
  const before = schema.fields.slice(0, schema.names.indexOf("pixels"))
  // The buffer of validity comes before that of the values.
  return before.reduce((sum, field) => sum + bufferCount(field.type), 0) + 1
}

interface Envelope {
  readonly message: Message
  /** From the message's first byte to its body, and to its end. */
  readonly start: number
  readonly body: number
  readonly end: number
}

const magic = "ARROW1"

const readAt = async (handle: FileHandle, target: Uint8Array, position: number): Promise<number> =>
  (await handle.read(target, 0, target.length, position)).bytesRead

/** The message at this place of an IPC file or stream; undefined at its end. */
const envelopeAt = async (handle: FileHandle, start: number): Promise<Envelope | undefined> => {
  const prefix = Buffer.alloc(8)
  if ((await readAt(handle, prefix, start)) < 8) return undefined
  // Files of before Arrow 0.15 have no continuation marker.
  const marked = prefix.readUInt32LE(0) === 0xffffffff
  const length = prefix.readInt32LE(marked ? 4 : 0)
  if (length <= 0) return undefined
  const metadata = new Uint8Array(length)
  const metadataStart = start + (marked ? 8 : 4)
  if ((await readAt(handle, metadata, metadataStart)) < length) throw new Error("it ends within a message")
  const message = Message.decode(metadata)
  const body = metadataStart + length
  return { message, start, body, end: body + message.bodyLength }
}

/** The record batch of this message with zeros for pixels: everything else is read. */
const withoutPixels = async (handle: FileHandle, head: Uint8Array, envelope: Envelope, pixels: number) => {
  const { message, start, body, end } = envelope
  const bytes = new Uint8Array(head.length + end - start)
  bytes.set(head)
  const into = (from: number, to: number) =>
    readAt(handle, bytes.subarray(head.length + from - start, head.length + to - start), from)
  const { offset, length } = (message.header() as ReturnType<Message<3>["header"]>).buffers[pixels]!
  await into(start, body + Number(offset))
  await into(body + Number(offset) + Number(length), end)
  const batch = RecordBatchReader.from(bytes).next().value as RecordBatch
  return { batch, pixelsAt: body + Number(offset) }
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
      const first = Buffer.alloc(8)
      yield* attempt(() => readAt(handle, first, 0))
      let position = first.toString("latin1", 0, 6) === magic ? 8 : 0
      const { schema } = yield* attempt(async () => (await RecordBatchReader.from(handle)).open())
      if (!schema) return yield* unreadable(new Error("it is empty or no Arrow file"))
      const wrong = columnError(images, schema, file)
      if (wrong !== undefined) return yield* wrong
      // The schema and the dictionaries, which are read anew with each batch.
      let head = schemaMessage(schema)
      let size: { height: number; width: number } | undefined
      const rows: Array<ImageRow> = []
      while (true) {
        const envelope = yield* attempt(() => envelopeAt(handle, position))
        if (envelope === undefined) break
        position = envelope.end
        if (envelope.message.isSchema()) continue
        if (!envelope.message.isRecordBatch()) {
          const part = new Uint8Array(envelope.end - envelope.start)
          yield* attempt(() => readAt(handle, part, envelope.start))
          head = Uint8Array.from([...head, ...part])
          continue
        }
        if (envelope.message.compression) {
          return yield* unreadable(
            new Error("its pixels are compressed; write it uncompressed, so that rows can be fetched")
          )
        }
        const { batch, pixelsAt } = yield* attempt(() => withoutPixels(handle, head, envelope, pixelBuffer(schema)))
        const nulls = nullError(images, batch, file)
        if (nulls !== undefined) return yield* nulls
        size = yield* Effect.fromResult(metadataOf(images, batch, file))
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

/** The rows of all these `images` files, in order; their images must be of one size. */
export const imageRows = (files: ReadonlyArray<string>): Effect.Effect<ImageRows, ArtifactError> =>
  Effect.gen(function* () {
    const parts = yield* Effect.forEach(files, rowsOfFile)
    const { height, width } = parts[0]!
    const other = parts.findIndex((part) => part.height !== height || part.width !== width)
    if (other >= 0) {
      const found = `images of ${parts[other]!.height}×${parts[other]!.width}, the files before it ${height}×${width}`
      return yield* new ArtifactUnreadable({ artifact: images.name, source: files[other]!, problem: found })
    }
    return { height, width, rows: parts.flatMap((part) => part.rows) }
  })
