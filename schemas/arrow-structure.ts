/**
 * Whether a file is a whole Arrow file or stream, told without its values: every message is a sound flatbuffer, follows
 * the one before it, and places its buffers one after the other within its body; a file's footer lists the same messages
 * and the same schema. Arrow's own reader checks none of this. What the format has no checksum for, the values and the
 * texts, is not told: a run's manifest keeps a sha256 of each file for that.
 * Source: "IPC file format" and "IPC streaming format" of the Arrow columnar format 1.5.
 */
import { readSync } from "node:fs"
import { type DataType, DataType as Is, Message, MetadataVersion, type Schema, util } from "apache-arrow"
import { type FileBlock, Footer } from "apache-arrow/ipc/metadata/file"
import { checkFlatbuffer, footer as footerTable, Malformed, message as messageTable } from "./arrow-flatbuffers.ts"

/** Gives bytes of a file: fewer where it ends. */
export type ReadAt = (at: number, length: number) => Uint8Array

/**
 * How many buffers a column of this type has in a record batch. String and binary views have any number of them; the
 * batch's header tells how many, view by view.
 */
export const bufferCount = (type: DataType, views: Iterator<number | bigint>, version: MetadataVersion): number => {
  const children = () => type.children.reduce((sum, child) => sum + bufferCount(child.type, views, version), 0)
  if (Is.isNull(type)) return 0
  if (Is.isUtf8View(type) || Is.isBinaryView(type)) return 2 + Number(views.next().value)
  if (Is.isUtf8(type) || Is.isBinary(type) || Is.isLargeUtf8(type) || Is.isLargeBinary(type)) return 3
  if (Is.isStruct(type) || Is.isFixedSizeList(type)) return 1 + children()
  if (Is.isList(type) || Is.isLargeList(type) || Is.isMap(type)) return 2 + children()
  if (Is.isUnion(type)) {
    // Unions had a buffer of validity up to version 4 of the format.
    const validity = version < MetadataVersion.V5 ? 1 : 0
    return validity + (Is.isDenseUnion(type) ? 2 : 1) + children()
  }
  return 2
}

/** A field's node in a record batch, and those of its children. */
const nodeCount = (type: DataType): number =>
  1 + (Is.isDictionary(type) ? 0 : (type.children ?? []).reduce((sum, child) => sum + nodeCount(child.type), 0))

type BatchHeader = ReturnType<Message<3>["header"]>

/** Bits of a value of this type; undefined where values have no one width. */
const bitsOf = (type: DataType): number | undefined => {
  if (Is.isBool(type)) return 1
  if (Is.isInt(type)) return type.bitWidth
  if (Is.isFloat(type)) return 16 * 2 ** type.precision
  return Is.isFixedSizeBinary(type) ? 8 * type.byteWidth : undefined
}

/** Bytes of an offset into the values of this type. */
const offsetBytes = (type: DataType): number | undefined => {
  if (Is.isUtf8(type) || Is.isBinary(type) || Is.isList(type) || Is.isMap(type)) return 4
  return Is.isLargeUtf8(type) || Is.isLargeBinary(type) || Is.isLargeList(type) ? 8 : undefined
}

/** What is wrong with the counts of a column and of its children, whose nodes and buffers are taken off the lists. */
const columnProblem = (
  type: DataType,
  rows: number | undefined,
  nodes: Array<BatchHeader["nodes"][number]>,
  buffers: Array<BatchHeader["buffers"][number]>,
  views: Iterator<number | bigint>,
  version: MetadataVersion
): string | undefined => {
  const { length, nullCount } = nodes.shift()!
  if (length < 0 || nullCount < 0 || nullCount > length) return `has ${length} values, ${nullCount} of them nulls`
  if (rows !== undefined && length !== rows) return `has ${length} values for ${rows} rows`
  const children = Is.isDictionary(type) ? [] : (type.children ?? [])
  const all = bufferCount(type, views, version)
  const within = children.reduce((sum, child) => sum + bufferCount(child.type, views, version), 0)
  const own = buffers.splice(0, all - within)
  const bits = bitsOf(type)
  const offsets = offsetBytes(type)
  const needed =
    bits !== undefined ? Math.ceil((length * bits) / 8) : offsets !== undefined ? (length + 1) * offsets : 0
  if (nullCount > 0 && own.length > 0 && own[0]!.length < Math.ceil(length / 8)) return "has no room for its nulls"
  if (length > 0 && own.length > 1 && own[1]!.length < needed)
    return `has ${own[1]!.length} bytes for ${length} values, which take ${needed}`
  const width = Is.isFixedSizeList(type) ? type.listSize * length : Is.isStruct(type) ? length : undefined
  for (const child of children) {
    const problem = columnProblem(child.type, width, nodes, buffers, views, version)
    if (problem !== undefined) return problem
  }
  return undefined
}

const alignments = [8, 16, 32, 64]

/** Whether buffers lie one after the other, and fill the body, when each takes up whole multiples of some bytes. */
const areInOrder = (buffers: BatchHeader["buffers"], bodyLength: number): boolean =>
  alignments.some((alignment) => {
    const padded = (at: number) => Math.ceil(at / alignment) * alignment
    let at = 0
    for (const { offset, length } of buffers) {
      // Where an empty buffer lies is of no meaning.
      if (length > 0 && offset !== at) return false
      at = padded(at + length)
    }
    return at === padded(bodyLength)
  })

const batchProblem = (
  types: ReadonlyArray<readonly [name: string, type: DataType]>,
  header: BatchHeader,
  bodyLength: number,
  version: MetadataVersion
): string | undefined => {
  const views = () => header.variadicBufferCounts[Symbol.iterator]()
  const counted = views()
  const nodes = types.reduce((sum, [, type]) => sum + nodeCount(type), 0)
  const buffers = types.reduce((sum, [, type]) => sum + bufferCount(type, counted, version), 0)
  if (header.nodes.length !== nodes || header.buffers.length !== buffers)
    return `it has ${header.nodes.length} columns and ${header.buffers.length} buffers, its schema ${nodes} and ${buffers}`
  if (header.length < 0) return `it is said to have ${header.length} rows`
  const outside = header.buffers.find(({ offset, length }) => offset < 0 || length < 0 || offset + length > bodyLength)
  if (outside) return `a buffer of ${outside.length} bytes at ${outside.offset} is outside its body of ${bodyLength}`
  if (!areInOrder(header.buffers, bodyLength)) return "its buffers do not follow each other"
  // Compressed buffers have other lengths; Arrow's reader refuses them.
  if (header.compression !== null) return undefined
  const [ownNodes, ownBuffers, ownViews] = [[...header.nodes], [...header.buffers], views()]
  for (const [name, type] of types) {
    const problem = columnProblem(type, header.length, ownNodes, ownBuffers, ownViews, version)
    if (problem !== undefined) return `column "${name}" ${problem}`
  }
  return undefined
}

class StructureProblem extends Error {}

const refuse = (problem: string): never => {
  throw new StructureProblem(problem)
}

const cutOff = () => refuse("it ends too early, as an interrupted download or a full disk leaves it")

const noArrow = () => refuse("it is no Arrow file or stream")

/** All of these bytes. */
const whole = (read: ReadAt, at: number, length: number): Uint8Array => {
  const bytes = read(at, length)
  return bytes.length === length ? bytes : cutOff()
}

const int32 = (bytes: Uint8Array, at: number) => new DataView(bytes.buffer, bytes.byteOffset + at, 4).getInt32(0, true)

/** A message of a file: its place, its own bytes, and the end of its body. */
interface Place {
  readonly message: Message
  readonly start: number
  readonly body: number
  readonly end: number
}

/** The message at a place; undefined where the file ends, or says that it does. */
const messageAt = (read: ReadAt, start: number, end: number): Place | { readonly stop: number } => {
  if (start === end) return { stop: end }
  if (start + 4 > end) return start === 0 ? noArrow() : cutOff()
  // Streams of before Arrow 0.15 have no continuation marker in front of a message's length.
  const marked = int32(whole(read, start, 4), 0) === -1
  const metadata = start + (marked ? 8 : 4)
  if (metadata > end) return cutOff()
  const length = int32(whole(read, metadata - 4, 4), 0)
  if (length === 0) return start === 0 ? noArrow() : { stop: metadata }
  if (length < 0 || metadata + length > end) return start === 0 ? noArrow() : cutOff()
  const bytes = whole(read, metadata, length)
  checkFlatbuffer(bytes, messageTable)
  const message = Message.decode(bytes)
  const body = metadata + length
  if (message.bodyLength < 0) return refuse(`the message at byte ${start} has a body of ${message.bodyLength} bytes`)
  return body + message.bodyLength > end ? cutOff() : { message, start, body, end: body + message.bodyLength }
}

const fieldsOf = (schema: Schema) => schema.fields.map(({ name, type }) => [String(name), type] as const)

const messageProblem = (schema: Schema, { message, start }: Place): string | undefined => {
  const dictionary = message.isDictionaryBatch() ? (message as Message<2>).header() : undefined
  if (dictionary === undefined && !message.isRecordBatch()) return `the message at byte ${start} is no record batch`
  const type = dictionary && schema.dictionaries.get(dictionary.id)
  if (dictionary && !type) return `the dictionary at byte ${start} belongs to no column`
  const header = dictionary ? dictionary.data : (message as Message<3>).header()
  const problem = batchProblem(
    type ? [["dictionary", type as DataType]] : fieldsOf(schema),
    header,
    message.bodyLength,
    message.version
  )
  return problem && `the record batch at byte ${start} is damaged: ${problem}`
}

/** The messages up to `end`, of which each is checked; the schema is the first of them, or `given`. */
const checkMessages = (read: ReadAt, first: number, end: number, given: Schema | undefined): ReadonlyArray<Place> => {
  const places: Array<Place> = []
  let schema = given
  let at = first
  while (true) {
    const place = messageAt(read, at, end)
    if ("stop" in place) {
      if (place.stop !== end) refuse(`${end - place.stop} bytes follow its end at byte ${place.stop}`)
      break
    }
    if (place.message.isSchema()) {
      const found = (place.message as Message<1>).header()
      if (at !== first) refuse(`a second schema is at byte ${at}`)
      if (given && !sameSchemas(found, given)) refuse("its footer has another schema than its start")
      schema = found
    } else {
      if (!schema) return refuse("it does not start with a schema")
      const problem = messageProblem(schema, place)
      if (problem !== undefined) refuse(problem)
      places.push(place)
    }
    at = place.end
  }
  return places
}

const texts = (metadata: ReadonlyMap<string, string>) => JSON.stringify([...metadata])

const sameSchemas = (a: Schema, b: Schema): boolean =>
  util.compareSchemas(a, b) &&
  texts(a.metadata) === texts(b.metadata) &&
  a.fields.every((field, i) => texts(field.metadata) === texts(b.fields[i]!.metadata))

const magic = "ARROW1"
const magicAndPadding = 8
/** The footer's length and the magic behind it. */
const tailLength = 4 + magic.length

const checkFile = (read: ReadAt, size: number) => {
  const tail = size < magicAndPadding + tailLength ? undefined : whole(read, size - tailLength, tailLength)
  const length = tail && Buffer.from(tail).toString("latin1", 4) === magic ? int32(tail, 0) : 0
  const start = size - tailLength - length
  if (length <= 0 || start < magicAndPadding) return refuse("it is cut off: the end of an Arrow file is missing")
  const bytes = whole(read, start, length)
  checkFlatbuffer(bytes, footerTable)
  const footer = Footer.decode(bytes)
  const places = checkMessages(read, magicAndPadding, start, footer.schema)
  const listed = (blocks: Iterable<FileBlock>, kind: "isRecordBatch" | "isDictionaryBatch") => {
    const own = places.filter(({ message }) => message[kind]())
    const all = [...blocks]
    const agree = ({ start, body, message }: Place, block: FileBlock | undefined) =>
      block?.offset === start && block.metaDataLength === body - start && block.bodyLength === message.bodyLength
    if (all.length !== own.length || !own.every((place, i) => agree(place, all[i])))
      refuse("its footer does not list the record batches that it holds")
  }
  listed(footer.recordBatches(), "isRecordBatch")
  listed(footer.dictionaryBatches(), "isDictionaryBatch")
}

/** What is wrong with a file of this size as an Arrow file or stream, if anything, and at which byte. Reads no values. */
export const arrowProblem = (size: number, read: ReadAt): string | undefined => {
  try {
    if (size === 0) return "it is empty"
    if (Buffer.from(read(0, magic.length)).toString("latin1") === magic) checkFile(read, size)
    else checkMessages(read, 0, size, undefined)
    return undefined
  } catch (cause) {
    if (cause instanceof StructureProblem || cause instanceof Malformed) return cause.message
    // Types and numbers that Arrow does not know.
    return `it is damaged: ${(cause as Error).message}`
  }
}

/** What is wrong with an open file as an Arrow file or stream, if anything. */
export const arrowFileProblem = (descriptor: number, size: number): string | undefined =>
  arrowProblem(size, (at, length) => {
    const bytes = new Uint8Array(length)
    return bytes.subarray(0, readSync(descriptor, bytes, 0, length, at))
  })

/** What is wrong with these bytes as an Arrow file or stream, if anything. */
export const arrowBytesProblem = (bytes: Uint8Array): string | undefined =>
  arrowProblem(bytes.length, (at, length) => bytes.subarray(at, at + length))
