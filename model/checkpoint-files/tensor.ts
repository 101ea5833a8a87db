/** Tensors as they lie in files: element types, and views of storages by shape and strides. */
import { refuse } from "#model/checkpoint-files/refusal.ts"

/** Bytes of an element, by the names of PyTorch's dtypes. */
export const elementBytes = {
  float64: 8,
  float32: 4,
  float16: 2,
  bfloat16: 2,
  int64: 8,
  int32: 4,
  int16: 2,
  int8: 1,
  uint8: 1,
  bool: 1
} as const
export type Dtype = keyof typeof elementBytes

/** float16 and bfloat16 come as float32, which holds them exactly; bool as 0 and 1. */
export type Values = Float64Array | Float32Array | BigInt64Array | Int32Array | Int16Array | Int8Array | Uint8Array

/** A tensor in a file. Its values, row-major, are made when they are asked for. */
export interface FileTensor {
  readonly dtype: Dtype
  readonly shape: ReadonlyArray<number>
  readonly values: () => Values
}

/** A run of elements that tensors are views of. */
export interface Storage {
  readonly dtype: Dtype
  readonly elements: number
  readonly bytes: () => Uint8Array
}

/** The elements of little-endian bytes. */
export const valuesOfBytes = (dtype: Dtype, bytes: Uint8Array): Values => {
  const aligned = bytes.byteOffset % elementBytes[dtype] === 0 ? bytes : new Uint8Array(bytes)
  const length = bytes.length / elementBytes[dtype]
  const view = <T>(type: new (buffer: ArrayBufferLike, offset: number, length: number) => T) =>
    new type(aligned.buffer, aligned.byteOffset, length)
  switch (dtype) {
    case "float64":
      return view(Float64Array)
    case "float32":
      return view(Float32Array)
    case "float16":
      return Float32Array.from(view(Float16Array))
    case "bfloat16":
      return new Float32Array(Uint32Array.from(view(Uint16Array), (half) => half << 16).buffer)
    case "int64":
      return view(BigInt64Array)
    case "int32":
      return view(Int32Array)
    case "int16":
      return view(Int16Array)
    case "int8":
      return view(Int8Array)
    default:
      return aligned
  }
}

/** Of PyTorch's tensors. */
const mostAxes = 64

/** Elements of a shape; refuses what is no shape. */
export const sizeOf = (shape: ReadonlyArray<number>): number => {
  if (shape.length > mostAxes) return refuse(`a tensor of ${shape.length} axes`)
  const size = shape.reduce((a, b) => a * b, 1)
  if (!shape.every((n) => Number.isSafeInteger(n) && n >= 0) || !Number.isSafeInteger(size))
    return refuse(`a tensor of shape [${shape}]`)
  return size
}

/** Strides of a row-major tensor. */
const rowMajor = (shape: ReadonlyArray<number>): ReadonlyArray<number> =>
  shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1))

const gathered = (
  all: Values,
  offset: number,
  shape: ReadonlyArray<number>,
  strides: ReadonlyArray<number>,
  size: number
): Values => {
  const values = all.slice(0, size)
  const index = shape.map(() => 0)
  let from = offset
  for (let at = 0; at < size; at++) {
    values[at] = all[from]!
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis]!
      if (++index[axis]! < shape[axis]!) break
      from -= strides[axis]! * shape[axis]!
      index[axis] = 0
    }
  }
  return values
}

/**
 * A tensor as a view of a storage, all counted in elements. Refuses a view that reaches out of the storage or has more
 * elements than it, before anything is made of it.
 */
export const viewOfStorage = (
  storage: Storage,
  offset: number,
  shape: ReadonlyArray<number>,
  strides: ReadonlyArray<number>
): FileTensor => {
  const { dtype, elements } = storage
  const size = sizeOf(shape)
  if (strides.length !== shape.length) return refuse(`a tensor of shape [${shape}] with ${strides.length} strides`)
  const what = `a tensor of shape [${shape}] with strides [${strides}] at ${offset}`
  const counts = [offset, ...strides].every((n) => Number.isSafeInteger(n) && n >= 0)
  if (!counts) return refuse(what)
  const last = shape.reduce((at, n, axis) => at + (n - 1) * strides[axis]!, offset)
  if (size > elements || (size > 0 && last >= elements))
    return refuse(`${what}, which is not within its storage of ${elements} elements`)
  const expected = rowMajor(shape)
  const contiguous = shape.every((n, axis) => n === 1 || strides[axis] === expected[axis])
  return {
    dtype,
    shape,
    values: () => {
      const all = valuesOfBytes(dtype, storage.bytes())
      if (size === 0) return all.slice(0, 0)
      return contiguous ? all.subarray(offset, offset + size) : gathered(all, offset, shape, strides, size)
    }
  }
}
