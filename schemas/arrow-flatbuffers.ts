/**
 * Checks the flatbuffers of Arrow files before anything reads them: Arrow's own reader takes any bytes for places and
 * counts, so that one flipped bit can keep it in a loop or have it ask for all memory.
 * Source: Schema.fbs, Message.fbs and File.fbs of the Arrow format 1.5; the internals of flatbuffers.
 */

/** A flatbuffer that is none of its table. */
export class Malformed extends Error {}

const malformed = (what: string): never => {
  throw new Malformed(`${what} is damaged`)
}

/** A field of a table: a value of so many bytes in the table itself, or a reference from it. */
type Member =
  | number
  | { readonly table: () => Table }
  | { readonly tables: () => Table }
  | { readonly elements: number }
  /** A table whose kind another member tells by its number; other numbers have no references in them. */
  | { readonly union: Readonly<Record<number, () => Table>>; readonly kind: number }
interface Table {
  readonly name: string
  readonly members: ReadonlyArray<Member>
}

const text: Member = { elements: 1 }
const keyValues: Member = { tables: () => keyValue }

const keyValue: Table = { name: "a metadata key", members: [text, text] }
const plain: Table = { name: "a type", members: [4, 4] }
const typed = (...members: ReadonlyArray<Member>) => {
  const table: Table = { name: "a type", members }
  return () => table
}
/** By the numbers of Arrow's types; those that are left out have no members. */
const types: Readonly<Record<number, () => Table>> = {
  2: typed(4, 1),
  3: typed(2),
  7: typed(4, 4, 4),
  8: typed(2),
  9: typed(2, 4),
  10: typed(2, text),
  11: typed(2),
  14: typed(2, { elements: 4 }),
  15: typed(4),
  16: typed(4),
  17: typed(1),
  18: typed(2)
}
const dictionary: Table = { name: "a dictionary's encoding", members: [8, { table: () => plain }, 1, 2] }
const field: Table = {
  name: "a field",
  members: [text, 1, 1, { union: types, kind: 2 }, { table: () => dictionary }, { tables: () => field }, keyValues]
}
const schema: Table = { name: "the schema", members: [2, { tables: () => field }, keyValues, { elements: 8 }] }
const compression: Table = { name: "a compression", members: [1, 1] }
const recordBatch: Table = {
  name: "a record batch's header",
  members: [8, { elements: 16 }, { elements: 16 }, { table: () => compression }, { elements: 8 }]
}
const dictionaryBatch: Table = { name: "a dictionary's header", members: [8, { table: () => recordBatch }, 1] }

export const message: Table = {
  name: "a message",
  members: [2, 1, { union: { 1: () => schema, 2: () => dictionaryBatch, 3: () => recordBatch }, kind: 1 }, 8, keyValues]
}
export const footer: Table = {
  name: "the footer",
  members: [2, { table: () => schema }, { elements: 24 }, { elements: 24 }, keyValues]
}

/** Of the format's own readers. */
const deepest = 64

/** Throws `Malformed` where the bytes are no flatbuffer of this table, all that it refers to included. */
export const checkFlatbuffer = (bytes: Uint8Array, root: Table): void => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  // A table takes four bytes at least, so that more of them refer to the same ones.
  let tables = Math.floor(bytes.length / 4)
  const within = (at: number, length: number, what: string) =>
    at >= 0 && at + length <= bytes.length ? at : malformed(what)
  const reference = (at: number, what: string) => at + view.getUint32(within(at, 4, what), true)

  /** The first element of a vector, and their number. */
  const vector = (at: number, width: number, what: string) => {
    const start = reference(at, what)
    const count = view.getUint32(within(start, 4, what), true)
    within(start + 4, count * width, what)
    return { first: start + 4, count }
  }

  const checkTable = ({ name, members }: Table, at: number, depth: number): void => {
    if (depth > deepest || tables-- <= 0) malformed(name)
    const places = at - view.getInt32(within(at, 4, name), true)
    const placesLength = view.getUint16(within(places, 4, name), true)
    const length = view.getUint16(places + 2, true)
    within(places, placesLength, name)
    within(at, length, name)
    if (placesLength < 4 || placesLength % 2 !== 0 || length < 4) malformed(name)
    /** Where a member lies; undefined where it has its default. */
    const placeOf = (index: number, width: number) => {
      const slot = 4 + 2 * index
      const offset = slot + 2 <= placesLength ? view.getUint16(places + slot, true) : 0
      if (offset === 0) return undefined
      if (offset < 4 || offset + width > length) malformed(name)
      return at + offset
    }
    for (const [index, member] of members.entries()) {
      const place = placeOf(index, typeof member === "number" ? member : 4)
      if (place === undefined || typeof member === "number") continue
      if ("elements" in member) vector(place, member.elements, name)
      else if ("table" in member) checkTable(member.table(), reference(place, name), depth + 1)
      else if ("union" in member) {
        const kind = placeOf(member.kind, 1)
        const table = member.union[kind === undefined ? 0 : view.getUint8(kind)]
        if (table) checkTable(table(), reference(place, name), depth + 1)
        else checkTable({ name, members: [] }, reference(place, name), depth + 1)
      } else {
        const { first, count } = vector(place, 4, name)
        for (let i = 0; i < count; i++) checkTable(member.tables(), reference(first + 4 * i, name), depth + 1)
      }
    }
  }
  checkTable(root, reference(0, root.name), 0)
}
