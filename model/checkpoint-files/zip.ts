/**
 * Zip archives in memory, as `torch.save` writes them (stored entries, zip64), every entry held against its CRC-32.
 * Source: PKWARE's APPNOTE.TXT 6.3.10.
 */
import { crc32, inflateRawSync } from "node:zlib"
import { refuse } from "#model/checkpoint-files/refusal.ts"

const signatures = { local: 0x04034b50, central: 0x02014b50, end: 0x06054b50, end64: 0x06064b50, locator64: 0x07064b50 }
const lengths = { local: 30, central: 46, end: 22, end64: 56, locator64: 20 }
const longestComment = 0xffff
const inExtra = 0xffffffff
const zip64Extra = 1

const damaged = (what: string) => refuse(`its zip archive is damaged or cut off: ${what}`)

/** Reads unsigned little-endian numbers; none beyond the end. */
const readerOf = (bytes: Uint8Array) => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const within = (at: number, length: number) =>
    Number.isSafeInteger(at) && at >= 0 && at + length <= bytes.length ? at : damaged("a record is outside of it")
  return {
    u16: (at: number) => view.getUint16(within(at, 2), true),
    u32: (at: number) => view.getUint32(within(at, 4), true),
    u64: (at: number) => Number(view.getBigUint64(within(at, 8), true)),
    slice: (at: number, length: number) => bytes.subarray(within(at, length), at + length)
  }
}
type Reader = ReturnType<typeof readerOf>

interface Entry {
  readonly name: string
  readonly method: number
  readonly crc: number
  readonly packed: number
  readonly unpacked: number
  /** Of its local header. */
  readonly offset: number
}

/** Where the central directory is, and how many entries it has. */
const directoryOf = (read: Reader, size: number) => {
  const first = Math.max(0, size - lengths.end - longestComment)
  let end = size - lengths.end
  while (end >= first && !(read.u32(end) === signatures.end && read.u16(end + 20) === size - end - lengths.end)) end--
  if (end < first) return damaged("its end record is missing")
  const locator = end - lengths.locator64
  if (locator < 0 || read.u32(locator) !== signatures.locator64)
    return { count: read.u16(end + 10), size: read.u32(end + 12), offset: read.u32(end + 16), end }
  const end64 = read.u64(locator + 8)
  if (read.u32(end64) !== signatures.end64) return damaged("its zip64 end record is missing")
  return { count: read.u64(end64 + 32), size: read.u64(end64 + 40), offset: read.u64(end64 + 48), end: end64 }
}

/** The sizes and the offset of an entry, those that do not fit 32 bits from its zip64 field. */
const longFields = (read: Reader, at: number, extra: number, extraLength: number) => {
  const short = [read.u32(at + 24), read.u32(at + 20), read.u32(at + 42)]
  if (!short.includes(inExtra)) return short
  let field = extra
  while (field + 4 <= extra + extraLength && read.u16(field) !== zip64Extra) field += 4 + read.u16(field + 2)
  if (field + 4 > extra + extraLength) return damaged("a zip64 field is missing")
  let next = field + 4
  return short.map((value) => {
    if (value !== inExtra) return value
    next += 8
    return read.u64(next - 8)
  })
}

const entriesOf = (read: Reader, size: number): ReadonlyArray<Entry> => {
  const directory = directoryOf(read, size)
  if (directory.offset + directory.size > directory.end) return damaged("its directory is outside of it")
  const entries: Array<Entry> = []
  let at = directory.offset
  while (entries.length < directory.count) {
    if (at + lengths.central > directory.end || read.u32(at) !== signatures.central)
      return damaged(`entry ${entries.length} of ${directory.count} is missing in its directory`)
    const [nameLength, extraLength, commentLength] = [read.u16(at + 28), read.u16(at + 30), read.u16(at + 32)]
    const name = Buffer.from(read.slice(at + lengths.central, nameLength)).toString()
    if (read.u16(at + 8) & 1) return refuse(`its zip entry "${name}" is encrypted`)
    const extra = at + lengths.central + nameLength
    const [unpacked, packed, offset] = longFields(read, at, extra, extraLength) as [number, number, number]
    entries.push({ name, method: read.u16(at + 10), crc: read.u32(at + 16), packed, unpacked, offset })
    at = extra + extraLength + commentLength
  }
  return entries
}

const inflated = (packed: Uint8Array, { name, unpacked }: Entry): Uint8Array => {
  try {
    return inflateRawSync(packed, { maxOutputLength: Math.max(1, unpacked) })
  } catch {
    return damaged(`entry "${name}" does not inflate to its ${unpacked} bytes`)
  }
}

const contentOf = (read: Reader, entry: Entry): Uint8Array => {
  const { name, method, crc, packed, unpacked, offset } = entry
  if (read.u32(offset) !== signatures.local) return damaged(`entry "${name}" has no header`)
  const nameLength = read.u16(offset + 26)
  const localName = Buffer.from(read.slice(offset + lengths.local, nameLength)).toString()
  if (localName !== name || read.u16(offset + 8) !== method)
    return damaged(`entry "${name}" is called "${localName}" by its own header`)
  const stored = read.slice(offset + lengths.local + nameLength + read.u16(offset + 28), packed)
  if (method !== 0 && method !== 8) return refuse(`its zip entry "${name}" is compressed by method ${method}`)
  const content = method === 0 ? stored : inflated(stored, entry)
  if (content.length !== unpacked) return damaged(`entry "${name}" has ${content.length} bytes, expected ${unpacked}`)
  if (crc32(content) !== crc) return refuse(`it is damaged: entry "${name}" does not have its CRC-32`)
  return content
}

/** What deflated entries may come to together: weights hardly shrink, so more is an attack on the memory. */
const mostInflated = (size: number) => Math.max(2 ** 24, 4 * size)

/** The contents of all entries by name. Refuses whatever is not whole, and entries that would take more memory than files of weights do. */
export const readZip = (bytes: Uint8Array): ReadonlyMap<string, Uint8Array> => {
  const read = readerOf(bytes)
  const entries = entriesOf(read, bytes.length)
  const sum = (of: (entry: Entry) => number) => entries.reduce((total, entry) => total + of(entry), 0)
  if (sum(({ packed }) => packed) > bytes.length) return damaged("its entries are larger than itself")
  if (sum(({ unpacked, method }) => (method === 0 ? 0 : unpacked)) > mostInflated(bytes.length))
    return refuse("its compressed entries would take too much memory")
  const contents = new Map<string, Uint8Array>()
  for (const entry of entries) {
    if (contents.has(entry.name)) return damaged(`entry "${entry.name}" is there twice`)
    contents.set(entry.name, contentOf(read, entry))
  }
  return contents
}
