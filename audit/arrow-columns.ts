/** Arrow files of a run read without the columns that nobody asks for: pixels and weights are most of their bytes. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs"
import { Message, type RecordBatch, type Schema, tableFromIPC } from "apache-arrow"
import { arrowFileProblem, bufferCount } from "#schemas/arrow-structure.ts"

/** Bytes of magic and padding in front of the first message, and of length and magic behind the footer. */
const [head, tail] = [8, 10]
const magic = "ARROW1"

interface Part {
  readonly start: number
  readonly end: number
}

/** The buffers of a record batch that belong to wanted columns, by their places in the file. */
const wantedParts = (
  schema: Schema,
  message: Message,
  body: number,
  unwanted: ReadonlySet<string>
): ReadonlyArray<Part> => {
  const header = (message as Message<3>).header()
  const views = header.variadicBufferCounts[Symbol.iterator]()
  let at = 0
  return schema.fields.flatMap(({ name, type }) => {
    const first = at
    at += bufferCount(type, views, message.version)
    const own = header.buffers.slice(first, at)
    if (unwanted.has(name)) return []
    return own.map(({ offset, length }) => ({
      start: body + Number(offset),
      end: body + Number(offset) + Number(length)
    }))
  })
}

/**
 * The record batches of an IPC file with zeros in the unwanted columns, of which nothing is read. Throws where the file is
 * none or cannot be read.
 */
export const readColumns = (file: string, unwanted: ReadonlySet<string>): ReadonlyArray<RecordBatch> => {
  const handle = openSync(file, "r")
  try {
    const { size } = fstatSync(handle)
    const problem = arrowFileProblem(handle, size)
    if (problem !== undefined) throw new Error(problem)
    // Fresh memory that is never written takes no room.
    const bytes = Buffer.alloc(size)
    const read = ({ start, end }: Part) => {
      if (start < 0 || end > size || readSync(handle, bytes, start, end - start, start) < end - start)
        throw new Error("it is cut off or damaged")
    }
    read({ start: 0, end: head })
    if (bytes.toString("latin1", 0, magic.length) !== magic) throw new Error("it is an Arrow stream, expected a file")
    read({ start: size - tail, end: size })
    const footer = size - tail - bytes.readInt32LE(size - tail)
    read({ start: footer, end: size })
    let schema: Schema | undefined
    for (let start = head; start + head <= footer; ) {
      read({ start, end: start + head })
      const length = bytes.readInt32LE(start + 4)
      if (length === 0) break
      const body = start + head + length
      read({ start, end: body })
      const message = Message.decode(bytes.subarray(start + head, body))
      const end = body + message.bodyLength
      if (message.isSchema()) schema = message.header()
      else if (message.isRecordBatch() && schema)
        for (const part of wantedParts(schema, message, body, unwanted)) read(part)
      else read({ start: body, end })
      start = end
    }
    return tableFromIPC(bytes).batches
  } finally {
    closeSync(handle)
  }
}
