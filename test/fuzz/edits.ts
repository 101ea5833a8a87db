/** Damage to bytes: what a bad disk, a cut download or somebody with a hex editor leaves of a file. */
import fc from "fast-check"

/** A place as a share of the bytes that it is chosen from; `inStructure` chooses from those that are no values. */
interface Place {
  readonly share: number
  readonly inStructure: boolean
}
export type Edit =
  | { readonly kind: "flip"; readonly at: Place; readonly bit: number }
  | { readonly kind: "number"; readonly at: Place; readonly value: number }
  | { readonly kind: "cut"; readonly at: Place }
  | { readonly kind: "fill"; readonly at: Place; readonly length: number; readonly byte: number }
  | { readonly kind: "copy"; readonly at: Place; readonly from: Place; readonly length: number }
  | { readonly kind: "insert"; readonly at: Place; readonly from: Place; readonly length: number }
  | { readonly kind: "remove"; readonly at: Place; readonly length: number }

/** From `start` up to `end`. */
export type Range = readonly [start: number, end: number]

const place = fc.record({
  // Without the bias to the ends that numbers are drawn with.
  share: fc.noBias(fc.nat(2 ** 30 - 1)).map((share) => share / 2 ** 30),
  inStructure: fc.boolean()
})
const length = fc.integer({ min: 1, max: 64 })

const edit: fc.Arbitrary<Edit> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("flip"), at: place, bit: fc.nat(7) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("number"),
      at: place,
      value: fc.oneof(fc.constantFrom(0, 1, -1, 0x7fffffff, -0x80000000, 0x10000, 0x7fff), fc.integer())
    })
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("cut"), at: place }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("fill"), at: place, length, byte: fc.constantFrom(0, 255, 65) })
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("copy"), at: place, from: place, length }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("insert"), at: place, from: place, length }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("remove"), at: place, length }) }
) as fc.Arbitrary<Edit>

/** One edit mostly, up to three. */
export const edits: fc.Arbitrary<ReadonlyArray<Edit>> = fc.array(edit, { minLength: 1, maxLength: 3 })

const placeIn = ({ share, inStructure }: Place, size: number, structure: ReadonlyArray<Range>): number => {
  const total = structure.reduce((sum, [start, end]) => sum + end - start, 0)
  if (!inStructure || total === 0) return Math.floor(share * size)
  let left = Math.floor(share * total)
  for (const [start, end] of structure) {
    if (left < end - start) return Math.min(start + left, size - 1)
    left -= end - start
  }
  return size - 1
}

/** The bytes after an edit; `structure` holds the places of the undamaged file that are no values. */
export const edited = (bytes: Buffer, change: Edit, structure: ReadonlyArray<Range>): Buffer => {
  if (bytes.length === 0) return bytes
  const at = placeIn(change.at, bytes.length, structure)
  const copy = Buffer.from(bytes)
  const piece = (from: Place, length: number) => {
    const start = placeIn(from, bytes.length, structure)
    return bytes.subarray(start, start + length)
  }
  switch (change.kind) {
    case "flip":
      copy[at]! ^= 1 << change.bit
      return copy
    case "number":
      if (bytes.length < 4) return copy.fill(change.value)
      copy.writeInt32LE(change.value, Math.min(at - (at % 4), bytes.length - 4))
      return copy
    case "cut":
      return copy.subarray(0, at)
    case "fill":
      return copy.fill(change.byte, at, Math.min(at + change.length, bytes.length))
    case "copy":
      copy.set(piece(change.from, Math.min(change.length, bytes.length - at)), at)
      return copy
    case "insert":
      return Buffer.concat([bytes.subarray(0, at), piece(change.from, change.length), bytes.subarray(at)])
    case "remove":
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + change.length)])
  }
}
