/**
 * A reader of pickles that builds data and nothing else: of Python's pickle machine it has the opcodes for numbers, texts,
 * lists, tuples and dicts, and calls no function but those of a closed list, which are the caller's own. All else is
 * refused by its name, so no pickle can run anything.
 * Source: Python's `pickletools`, protocols 2 to 4.
 */
import { refuse } from "#model/checkpoint-files/refusal.ts"

/**
 * What a pickle holds. Lists are arrays, tuples frozen arrays, dicts maps; whatever else is there the closed list and
 * `persistent` gave.
 */
export type Pickled = unknown

/** A global of the closed list: `call` is what REDUCE makes of its arguments, where it may be called at all. */
export interface PickleGlobal {
  readonly name: string
  readonly call?: (args: ReadonlyArray<Pickled>) => Pickled
}

export interface PickleRules {
  /** The closed list, by `module.name`. */
  readonly globals: ReadonlyMap<string, PickleGlobal>
  /** What a persistent id stands for. */
  readonly persistent: (id: Pickled) => Pickled
}

export const tuple = (values: ReadonlyArray<Pickled>): ReadonlyArray<Pickled> => Object.freeze([...values])

/** What is there of the opcodes; the rest are refused by the names below, or by their numbers. */
const opcodes = {
  MARK: 0x28,
  STOP: 0x2e,
  POP: 0x30,
  NONE: 0x4e,
  NEWTRUE: 0x88,
  NEWFALSE: 0x89,
  BININT: 0x4a,
  BININT1: 0x4b,
  BININT2: 0x4d,
  LONG1: 0x8a,
  BINFLOAT: 0x47,
  SHORT_BINSTRING: 0x55,
  BINSTRING: 0x54,
  SHORT_BINUNICODE: 0x8c,
  BINUNICODE: 0x58,
  SHORT_BINBYTES: 0x43,
  BINBYTES: 0x42,
  EMPTY_LIST: 0x5d,
  APPEND: 0x61,
  APPENDS: 0x65,
  EMPTY_TUPLE: 0x29,
  TUPLE: 0x74,
  TUPLE1: 0x85,
  TUPLE2: 0x86,
  TUPLE3: 0x87,
  EMPTY_DICT: 0x7d,
  SETITEM: 0x73,
  SETITEMS: 0x75,
  BINGET: 0x68,
  LONG_BINGET: 0x6a,
  BINPUT: 0x71,
  LONG_BINPUT: 0x72,
  MEMOIZE: 0x94,
  PROTO: 0x80,
  FRAME: 0x95,
  GLOBAL: 0x63,
  STACK_GLOBAL: 0x93,
  REDUCE: 0x52,
  BUILD: 0x62,
  BINPERSID: 0x51
} as const

const refusedNames: Readonly<Record<number, string>> = {
  105: "INST",
  111: "OBJ",
  129: "NEWOBJ",
  146: "NEWOBJ_EX",
  130: "EXT1",
  131: "EXT2",
  132: "EXT4",
  80: "PERSID",
  73: "INT",
  76: "LONG",
  70: "FLOAT",
  86: "UNICODE",
  83: "STRING"
}

const cut = () => refuse("its pickle is cut off")
const text = new TextDecoder("utf-8", { fatal: true })

/** Reads through a pickle's bytes; never past their end. */
class PickleBytes {
  at: number
  readonly #bytes: Uint8Array
  readonly #view: DataView
  constructor(bytes: Uint8Array, start: number) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.at = start
  }
  take(length: number): Uint8Array {
    if (length < 0 || this.at + length > this.#bytes.length) return cut()
    this.at += length
    return this.#bytes.subarray(this.at - length, this.at)
  }
  number(bytes: 1 | 2 | 4): number {
    const at = this.at
    this.take(bytes)
    if (bytes === 1) return this.#view.getUint8(at)
    return bytes === 2 ? this.#view.getUint16(at, true) : this.#view.getUint32(at, true)
  }
  int32(): number {
    return this.number(4) | 0
  }
  float64(): number {
    this.take(8)
    return this.#view.getFloat64(this.at - 8)
  }
  /** An integer of two's complement; a bigint where a number cannot hold it. */
  long(length: number): number | bigint {
    const value = this.take(length).reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n)
    const signed = BigInt.asIntN(8 * length, value)
    return Number.isSafeInteger(Number(signed)) ? Number(signed) : signed
  }
  text(length: number): string {
    const bytes = this.take(length)
    try {
      return text.decode(bytes)
    } catch {
      return refuse("its pickle holds a text that is no UTF-8")
    }
  }
  line(): string {
    const end = this.#bytes.indexOf(0x0a, this.at)
    if (end < 0) return cut()
    const line = this.text(end - this.at)
    this.at++
    return line
  }
}

const mark = Symbol("mark")

/** The machine's stack. */
class PickleStack {
  readonly #values: Array<Pickled> = []
  push(value: Pickled): void {
    this.#values.push(value)
  }
  pushMark(): void {
    this.#values.push(mark)
  }
  top(): Pickled {
    const value = this.#values.at(-1)
    return this.#values.length === 0 || value === mark ? refuse("its pickle takes from an empty stack") : value
  }
  pop(): Pickled {
    const value = this.top()
    this.#values.pop()
    return value
  }
  /** The last `count` values. */
  popMany(count: number): Array<Pickled> {
    return Array.from({ length: count }, () => this.pop()).reverse()
  }
  /** The values since the last mark. */
  popToMark(): Array<Pickled> {
    const at = this.#values.lastIndexOf(mark)
    if (at < 0) return refuse("its pickle has no mark where it needs one")
    return this.#values.splice(at).slice(1)
  }
}

const isGlobal = (value: Pickled): value is PickleGlobal =>
  typeof value === "object" && value !== null && "name" in value && !(value instanceof Map)

/** Runs the pickle that starts at `start`; gives what it holds and where it ends. Throws a `Refusal`. */
export const readPickle = (bytes: Uint8Array, start: number, rules: PickleRules): { value: Pickled; end: number } => {
  const input = new PickleBytes(bytes, start)
  const stack = new PickleStack()
  const memo = new Map<number, Pickled>()

  const global = (name: string) =>
    rules.globals.get(name) ?? refuse(`its pickle names ${name}, which is none of what tensors are made of`)

  const remembered = (key: number) =>
    memo.has(key) ? memo.get(key) : refuse(`its pickle takes ${key} from its memo, which is not there`)

  const listOnTop = () => {
    const list = stack.top()
    return Array.isArray(list) && !Object.isFrozen(list) ? list : refuse("its pickle appends to what is no list")
  }

  const setItems = (items: ReadonlyArray<Pickled>) => {
    const dict = stack.top()
    if (!(dict instanceof Map) || items.length % 2 !== 0) return refuse("its pickle sets items of what is no dict")
    for (let i = 0; i < items.length; i += 2) dict.set(items[i], items[i + 1])
  }

  const reduce = () => {
    const [callee, args] = stack.popMany(2)
    const call = isGlobal(callee) ? callee.call : undefined
    if (call === undefined || !Array.isArray(args))
      return refuse(`its pickle calls ${isGlobal(callee) ? callee.name : "what is no function"} (opcode REDUCE)`)
    return call(args)
  }

  /** Attributes of a dict, or of what stands for a number of NumPy's, are of no use here. */
  const build = () => {
    stack.pop()
    const built = stack.top()
    if (!(built instanceof Map) && !(isGlobal(built) && built.call === undefined))
      return refuse("its pickle sets attributes (opcode BUILD)")
  }

  const actions: Readonly<Record<keyof typeof opcodes, () => void>> = {
    MARK: () => stack.pushMark(),
    STOP: () => {},
    POP: () => void stack.pop(),
    NONE: () => stack.push(null),
    NEWTRUE: () => stack.push(true),
    NEWFALSE: () => stack.push(false),
    BININT: () => stack.push(input.int32()),
    BININT1: () => stack.push(input.number(1)),
    BININT2: () => stack.push(input.number(2)),
    LONG1: () => stack.push(input.long(input.number(1))),
    BINFLOAT: () => stack.push(input.float64()),
    SHORT_BINSTRING: () => stack.push(input.text(input.number(1))),
    BINSTRING: () => stack.push(input.text(input.number(4))),
    SHORT_BINUNICODE: () => stack.push(input.text(input.number(1))),
    BINUNICODE: () => stack.push(input.text(input.number(4))),
    SHORT_BINBYTES: () => stack.push(input.take(input.number(1))),
    BINBYTES: () => stack.push(input.take(input.number(4))),
    EMPTY_LIST: () => stack.push([]),
    APPEND: () => {
      const value = stack.pop()
      listOnTop().push(value)
    },
    APPENDS: () => {
      const values = stack.popToMark()
      const list = listOnTop()
      for (const value of values) list.push(value)
    },
    EMPTY_TUPLE: () => stack.push(tuple([])),
    TUPLE: () => stack.push(tuple(stack.popToMark())),
    TUPLE1: () => stack.push(tuple(stack.popMany(1))),
    TUPLE2: () => stack.push(tuple(stack.popMany(2))),
    TUPLE3: () => stack.push(tuple(stack.popMany(3))),
    EMPTY_DICT: () => stack.push(new Map()),
    SETITEM: () => setItems(stack.popMany(2)),
    SETITEMS: () => setItems(stack.popToMark()),
    BINGET: () => stack.push(remembered(input.number(1))),
    LONG_BINGET: () => stack.push(remembered(input.number(4))),
    BINPUT: () => void memo.set(input.number(1), stack.top()),
    LONG_BINPUT: () => void memo.set(input.number(4), stack.top()),
    MEMOIZE: () => void memo.set(memo.size, stack.top()),
    PROTO: () => {
      const protocol = input.number(1)
      if (protocol < 2 || protocol > 4) refuse(`its pickle is of protocol ${protocol}`)
    },
    FRAME: () => void input.take(8),
    GLOBAL: () => stack.push(global(`${input.line()}.${input.line()}`)),
    STACK_GLOBAL: () => {
      const [module, name] = stack.popMany(2)
      stack.push(global(`${String(module)}.${String(name)}`))
    },
    REDUCE: () => stack.push(reduce()),
    BUILD: build,
    BINPERSID: () => stack.push(rules.persistent(stack.pop()))
  }
  const byCode = new Map(Object.entries(opcodes).map(([name, code]) => [code as number, actions[name as "STOP"]]))

  for (;;) {
    const code = input.number(1)
    const action = byCode.get(code)
    if (action === undefined)
      return refuse(`its pickle has the opcode ${refusedNames[code] ?? `0x${code.toString(16)}`}, which is not run`)
    action()
    if (code === opcodes.STOP) return { value: stack.pop(), end: input.at }
  }
}
