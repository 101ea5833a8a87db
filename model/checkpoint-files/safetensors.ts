/**
 * safetensors files: a header of JSON and the tensors' bytes after it. The format has no checksum.
 * Source: the format's description in huggingface/safetensors.
 */
import { Result, Schema } from "effect"
import { refuse } from "#model/checkpoint-files/refusal.ts"
import { type Dtype, elementBytes, type FileTensor, sizeOf, valuesOfBytes } from "#model/checkpoint-files/tensor.ts"

const dtypes: Readonly<Record<string, Dtype>> = {
  F64: "float64",
  F32: "float32",
  F16: "float16",
  BF16: "bfloat16",
  I64: "int64",
  I32: "int32",
  I16: "int16",
  I8: "int8",
  U8: "uint8",
  BOOL: "bool"
}

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
const Entry = Schema.Struct({
  dtype: Schema.Literals(Object.keys(dtypes)),
  shape: Schema.Array(Count),
  data_offsets: Schema.Tuple([Count, Count])
})
type Entry = typeof Entry.Type
const Header = Schema.fromJsonString(Schema.Record(Schema.String, Schema.Unknown))
const Metadata = Schema.Record(Schema.String, Schema.String)

const lengthBytes = 8
/** Of the format's own reader. */
const longestHeader = 1e8

const decoded = <S extends Schema.Top & { readonly DecodingServices: never }>(
  schema: S,
  value: unknown,
  what: string
) =>
  Result.getOrElse(Schema.decodeUnknownResult(schema)(value), (error) =>
    refuse(`${what}: ${error.message.replace(/\s*\n\s*/g, " ").slice(0, 300)}`)
  )

const headerOf = (bytes: Uint8Array) => {
  if (bytes.length < lengthBytes) return refuse("it is too short for safetensors")
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true))
  if (length > Math.min(longestHeader, bytes.length - lengthBytes))
    return refuse(`its header is said to have ${length} bytes, of ${bytes.length} in the file`)
  const text = Buffer.from(bytes.subarray(lengthBytes, lengthBytes + length)).toString()
  return { header: decoded(Header, text, "its header"), data: bytes.subarray(lengthBytes + length) }
}

/** The tensors of a file by name, and its own notes. Throws a `Refusal`. */
export const readSafetensors = (bytes: Uint8Array) => {
  const { header, data } = headerOf(bytes)
  const { __metadata__ = {}, ...rest } = header as Record<string, unknown>
  const notes = decoded(Metadata, __metadata__, "its __metadata__")
  const entries = Object.entries(rest).map(
    ([name, given]) => [name, decoded(Entry, given, `tensor "${name}"`)] as const
  )
  const tensors = new Map<string, FileTensor>()
  let end = 0
  for (const [name, { dtype: type, shape, data_offsets: range }] of entries.toSorted(byPlace)) {
    const dtype = dtypes[type]!
    if (range[0] !== end) return refuse(`tensor "${name}" starts at ${range[0]}, expected ${end}, where another ends`)
    const length = sizeOf(shape) * elementBytes[dtype]
    if (range[1] - range[0] !== length)
      return refuse(`tensor "${name}" has ${range[1] - range[0]} bytes, its shape [${shape}] takes ${length}`)
    if (range[1] > data.length) return refuse(`tensor "${name}" ends at ${range[1]}, the data at ${data.length}`)
    tensors.set(name, { dtype, shape, values: () => valuesOfBytes(dtype, data.subarray(...range)) })
    end = range[1]
  }
  if (end !== data.length) return refuse(`${data.length - end} bytes are left after its last tensor`)
  const order = new Map(entries.map(([name]) => [name, tensors.get(name)!]))
  return { tensors: order, notes: new Map(Object.entries(notes)) }
}

const byPlace = ([, a]: readonly [string, Entry], [, b]: readonly [string, Entry]) =>
  a.data_offsets[0] - b.data_offsets[0] || a.data_offsets[1] - b.data_offsets[1]

/** A tensor to be written: float32 values or int64 ones. */
export interface WritableTensor {
  readonly shape: ReadonlyArray<number>
  readonly values: Float32Array | BigInt64Array
}

/** A safetensors file of these tensors, the wider elements first, so that all are aligned. */
export const safetensorsBytes = (
  tensors: ReadonlyMap<string, WritableTensor>,
  notes: Readonly<Record<string, string>>
): Uint8Array => {
  const isWide = ([, { values }]: readonly [string, WritableTensor]) => values instanceof BigInt64Array
  const placed = [...[...tensors].filter(isWide), ...[...tensors].filter((entry) => !isWide(entry))]
  let end = 0
  const entries = placed.map(([name, { shape, values }]) => {
    const range = [end, end + values.byteLength]
    end += values.byteLength
    return [name, { dtype: values instanceof BigInt64Array ? "I64" : "F32", shape, data_offsets: range }] as const
  })
  const json = JSON.stringify({ __metadata__: notes, ...Object.fromEntries(entries) })
  const header = Buffer.from(json + " ".repeat((lengthBytes - (Buffer.byteLength(json) % lengthBytes)) % lengthBytes))
  const length = Buffer.alloc(lengthBytes)
  length.writeBigUInt64LE(BigInt(header.length))
  const data = placed.map(([, { values }]) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
  return Buffer.concat([length, header, ...data])
}
