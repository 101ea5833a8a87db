/**
 * What `torch.save` writes: a zip archive of a pickle and of storages (PyTorch 1.6 and later), or one file of pickles that
 * the storages follow (before; torchvision's and IBN-Net's older weights and the original code's models are of that kind).
 * Source: `torch.serialization` of PyTorch 2.
 */
import { type Pickled, type PickleGlobal, type PickleRules, readPickle } from "#model/checkpoint-files/pickle.ts"
import { refuse } from "#model/checkpoint-files/refusal.ts"
import {
  type Dtype,
  elementBytes,
  type FileTensor,
  type Storage,
  viewOfStorage
} from "#model/checkpoint-files/tensor.ts"
import { readZip } from "#model/checkpoint-files/zip.ts"

const storageTypes: Readonly<Record<string, Dtype>> = {
  "torch.DoubleStorage": "float64",
  "torch.FloatStorage": "float32",
  "torch.HalfStorage": "float16",
  "torch.BFloat16Storage": "bfloat16",
  "torch.LongStorage": "int64",
  "torch.IntStorage": "int32",
  "torch.ShortStorage": "int16",
  "torch.CharStorage": "int8",
  "torch.ByteStorage": "uint8",
  "torch.BoolStorage": "bool"
}

class PickledStorage implements Storage {
  readonly dtype: Dtype
  readonly elements: number
  content: Uint8Array | undefined
  constructor(dtype: Dtype, elements: number) {
    this.dtype = dtype
    this.elements = elements
  }
  bytes(): Uint8Array {
    return this.content ?? refuse("a tensor's storage is missing")
  }
}

/** A tensor that a pickle rebuilt. */
export class PickledTensor implements FileTensor {
  readonly dtype: Dtype
  readonly shape: ReadonlyArray<number>
  readonly values: FileTensor["values"]
  constructor({ dtype, shape, values }: FileTensor) {
    this.dtype = dtype
    this.shape = shape
    this.values = values
  }
}

const rebuildTensor = (args: ReadonlyArray<Pickled>): PickledTensor => {
  const [storage, offset, shape, strides] = args
  if (!(storage instanceof PickledStorage) || !Array.isArray(shape) || !Array.isArray(strides))
    return refuse("its pickle rebuilds a tensor of what is no storage")
  return new PickledTensor(viewOfStorage(storage, offset as number, shape, strides))
}

const rebuildParameter = ([tensor]: ReadonlyArray<Pickled>) =>
  tensor instanceof PickledTensor ? tensor : refuse("its pickle rebuilds a parameter of what is no tensor")

/** A dict, of which Python 2 wrote the items as the argument. All such items together are bounded by the file. */
const dictMaker = (most: number) => {
  let items = 0
  return ([given = []]: ReadonlyArray<Pickled>): Pickled => {
    const pairs = given instanceof Map ? [...given] : given
    if (!Array.isArray(pairs) || !pairs.every((pair) => Array.isArray(pair) && pair.length === 2))
      return refuse("its pickle makes a dict of what is no list of pairs")
    items += pairs.length
    return items > most ? refuse("its pickle makes more dicts than it has room for") : new Map(pairs)
  }
}

/** What stands for values that are of no use to a network, as the number of NumPy that a best mAP is. */
const inert = (name: string): PickleGlobal => ({ name, call: () => ({ name }) })

/** The closed list of what a pickle may name. */
const globalsOf = (most: number): ReadonlyMap<string, PickleGlobal> =>
  new Map(
    [
      { name: "collections.OrderedDict", call: dictMaker(most) },
      { name: "collections.Counter", call: dictMaker(most) },
      { name: "torch._utils._rebuild_tensor", call: rebuildTensor },
      { name: "torch._utils._rebuild_tensor_v2", call: rebuildTensor },
      { name: "torch._utils._rebuild_parameter", call: rebuildParameter },
      { name: "torch.Size", call: ([size]: ReadonlyArray<Pickled>) => size },
      inert("numpy.core.multiarray.scalar"),
      inert("numpy._core.multiarray.scalar"),
      inert("numpy.dtype"),
      inert("_codecs.encode"),
      ...Object.keys(storageTypes).map((name) => ({ name }))
    ].map((global) => [global.name, global])
  )

/**
 * Takes persistent ids for storages, of at most `most` elements, each to be given its bytes by `onStorage` when it is
 * first named.
 */
const rulesOf = (
  most: number,
  storages: Map<string, PickledStorage>,
  onStorage: (key: string, storage: PickledStorage) => void = () => {}
): PickleRules => ({
  globals: globalsOf(most),
  persistent: (id) => {
    const [tag, type, key, , elements, view] = Array.isArray(id) ? (id as ReadonlyArray<Pickled>) : []
    const dtype = storageTypes[(type as PickleGlobal | undefined)?.name ?? ""]
    if (tag !== "storage" || typeof key !== "string" || dtype === undefined)
      return refuse("its pickle has a persistent id that is no storage")
    if (view !== undefined && view !== null) return refuse("its storages are views of others, which is not read")
    if (!Number.isSafeInteger(elements) || (elements as number) < 0 || (elements as number) > most)
      return refuse(`storage "${key}" is said to have ${String(elements)} elements, more than the file can hold`)
    const known = storages.get(key)
    if (known?.dtype === dtype && known.elements === elements) return known
    if (known) return refuse(`storage "${key}" is said to be two different ones`)
    const storage = new PickledStorage(dtype, elements as number)
    onStorage(key, storage)
    storages.set(key, storage)
    return storage
  }
})

/** The one pickle of an archive, and the folder that it is in. */
const pickleIn = (entries: ReadonlyMap<string, Uint8Array>) => {
  const names = [...entries.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name))
  if (names.length !== 1) return refuse(`it is a zip archive with ${names.length} data.pkl, a checkpoint has one`)
  return { folder: names[0]!.slice(0, -"data.pkl".length), pickle: entries.get(names[0]!)! }
}

/** What a checkpoint of PyTorch 1.6 or later holds. Throws a `Refusal`. */
export const readPytorchZip = (bytes: Uint8Array): Pickled => {
  const entries = readZip(bytes)
  const { folder, pickle } = pickleIn(entries)
  const order = Buffer.from(entries.get(`${folder}byteorder`) ?? "little").toString()
  if (order !== "little") return refuse(`its numbers are ${order}-endian, only little-endian ones are read`)
  const unpacked = [...entries.values()].reduce((sum, { length }) => sum + length, 0)
  const rules = rulesOf(unpacked, new Map(), (key, storage) => {
    const content = entries.get(`${folder}data/${key}`)
    if (content === undefined) return refuse(`its storage "${key}" is missing`)
    const expected = storage.elements * elementBytes[storage.dtype]
    if (content.length !== expected)
      return refuse(`its storage "${key}" has ${content.length} bytes, expected ${expected}`)
    storage.content = content
  })
  return readPickle(pickle, 0, rules).value
}

/** How a checkpoint of before PyTorch 1.6 starts: a pickle of a number. */
export const legacyMagic = Uint8Array.of(
  0x80,
  2,
  0x8a,
  10,
  0x6c,
  0xfc,
  0x9c,
  0x46,
  0xf9,
  0x20,
  0x6a,
  0xa8,
  0x50,
  0x19,
  0x2e
)
const legacyProtocol = 1001

/** What a checkpoint of before PyTorch 1.6 holds. The format has no checksums. Throws a `Refusal`. */
export const readPytorchLegacy = (bytes: Uint8Array): Pickled => {
  const storages = new Map<string, PickledStorage>()
  const rules = rulesOf(bytes.length, storages)
  const protocol = readPickle(bytes, legacyMagic.length, rules)
  if (protocol.value !== legacyProtocol) return refuse(`its protocol is ${String(protocol.value)}, expected 1001`)
  const system = readPickle(bytes, protocol.end, rules)
  if (!(system.value instanceof Map) || system.value.get("little_endian") !== true)
    return refuse("its numbers are not little-endian")
  const held = readPickle(bytes, system.end, rules)
  const keys = readPickle(bytes, held.end, rules)
  if (!Array.isArray(keys.value)) return refuse("its list of storages is missing")
  let at = keys.end
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  for (const key of keys.value) {
    const storage = storages.get(key as string)
    if (storage === undefined || storage.content) return refuse("its list of storages names one that no tensor has")
    const length = storage.elements * elementBytes[storage.dtype]
    if (at + 8 + length > bytes.length) return refuse(`it is cut off in its storage "${String(key)}"`)
    if (view.getBigInt64(at, true) !== BigInt(storage.elements))
      return refuse(`its storage "${String(key)}" does not have the ${storage.elements} elements that it should`)
    storage.content = bytes.subarray(at + 8, at + 8 + length)
    at += 8 + length
  }
  if (at !== bytes.length) return refuse(`${bytes.length - at} bytes are left after its last storage`)
  const missing = [...storages].find(([, { content }]) => content === undefined)
  return missing ? refuse(`its storage "${missing[0]}" is missing`) : held.value
}
