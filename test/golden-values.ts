/**
 * The golden values: cases of golden.json with their columns, scalars and tolerances, the formula that weights and images
 * are made of, and the one comparison that all golden tests use. `MMT_GOLDEN` names another folder of the same layout;
 * with `MMT_MARGINS` set, each comparison prints its largest error as a share of what is allowed.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { DataType, tableFromIPC } from "apache-arrow"
import { Schema } from "effect"

export const goldenFolder = process.env.MMT_GOLDEN ?? join(import.meta.dirname, "golden")

const ColumnOf = Schema.Struct({
  file: Schema.String,
  column: Schema.String,
  dtype: Schema.Literals(["float32", "float64", "int32"]),
  shape: Schema.Array(Schema.Int)
})
const Tolerance = Schema.Union([Schema.Literal("exact"), Schema.Struct({ abs: Schema.Finite, rel: Schema.Finite })])
/** `"exact"`, or: an element passes when |x − ref| ≤ abs + rel·|ref|. */
export type Tolerance = typeof Tolerance.Type

const Sample = Schema.Struct({
  salt: Schema.Int,
  k: Schema.Int,
  i: Schema.Int,
  u32: Schema.Int,
  r: Schema.Finite
})

const Case = Schema.Struct({
  id: Schema.String,
  params: Schema.Record(Schema.String, Schema.Unknown),
  inputs: Schema.Record(Schema.String, Schema.Union([ColumnOf, Schema.String])),
  outputs: Schema.Record(Schema.String, Schema.Union([ColumnOf, Schema.String])),
  scalars: Schema.Record(Schema.String, Schema.Unknown),
  tolerances: Schema.Record(Schema.String, Schema.Unknown)
})

const Golden = Schema.Struct({
  formula: Schema.Struct({ samples: Schema.Array(Sample) }),
  cases: Schema.Array(Case)
})

const readJson = (file: string): unknown => JSON.parse(readFileSync(join(goldenFolder, file), "utf8"))

const golden = Schema.decodeUnknownSync(Golden)(readJson("golden.json"))

/** Known values of the formula's hash. */
export const formulaSamples = golden.formula.samples

/** A column, row-major; `nulls` holds the places (of a vector) without a value. */
export interface Values<A = Float32Array | Float64Array | Int32Array> {
  readonly values: A
  readonly shape: ReadonlyArray<number>
  readonly nulls: ReadonlySet<number>
}

const readColumn = ({ file, column, dtype, shape }: typeof ColumnOf.Type): Values => {
  const batches = tableFromIPC(readFileSync(join(goldenFolder, file))).batches
  const data = batches[0]?.getChild(column)?.data[0]
  if (batches.length !== 1 || data === undefined) throw new Error(`${file}: expected one batch with column ${column}`)
  const flat = DataType.isFixedSizeList(data.type) ? data.children[0]! : data
  const values = flat.values as Values["values"]
  const found = `${String(flat.type).toLowerCase()} ${values.length}`
  const expected = `${dtype} ${shape.reduce((a, b) => a * b, 1)}`
  if (found !== expected) throw new Error(`${file}: column ${column} holds ${found}, golden.json says ${expected}`)
  const nulls = new Set(Array.from({ length: data.length }, (_, row) => row).filter((row) => !data.getValid(row)))
  return { values, shape, nulls }
}

/**
 * Fails unless every element is within the tolerance, with the case, the output, the index and both values in the text.
 * Gives the largest error as a share of the allowed one.
 */
export const expectWithin = (
  place: string,
  found: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: Tolerance
): number => {
  if (found.length !== expected.length) throw new Error(`${place}: ${found.length} values, expected ${expected.length}`)
  let largest = 0
  for (let i = 0; i < expected.length; i++) {
    const [x, reference] = [found[i]!, expected[i]!]
    const allowed = tolerance === "exact" ? 0 : tolerance.abs + tolerance.rel * Math.abs(reference)
    const error = Math.abs(x - reference)
    if (!(error <= allowed))
      throw new Error(`${place}[${i}]: found ${x}, expected ${reference}: off by ${error}, allowed ${allowed}`)
    if (allowed > 0) largest = Math.max(largest, error / allowed)
  }
  if (process.env.MMT_MARGINS) process.stdout.write(`${place}: ${largest.toPrecision(3)} of the tolerance\n`)
  return largest
}

/** One case; its parameters come decoded by the schema that the test gives. */
export interface GoldenCase<P> {
  readonly id: string
  readonly params: P
  readonly input: <A extends Values["values"]>(name: string, kind: { new (): A }) => Values<A>
  readonly output: <A extends Values["values"]>(name: string, kind: { new (): A }) => Values<A>
  readonly outputs: ReadonlyArray<string>
  readonly scalars: Readonly<Record<string, unknown>>
  readonly scalar: (name: string) => number
  readonly tolerance: (name: string) => Tolerance
  readonly tolerances: Readonly<Record<string, unknown>>
  /** Compares with the output or scalar of this name, by its own tolerance unless another is given. */
  readonly check: (name: string, found: number | ArrayLike<number>, tolerance?: Tolerance) => number
  /** Parsed JSON, or the path, of a file among the inputs and outputs. */
  readonly json: (name: string) => unknown
  readonly path: (name: string) => string
}

export const goldenCase = <P>(id: string, Params: Schema.Codec<P, unknown>): GoldenCase<P> => {
  const found = golden.cases.find((c) => c.id === id)
  if (found === undefined) throw new Error(`${goldenFolder}: golden.json has no case "${id}"`)
  const { inputs, outputs, scalars, tolerances } = found
  const column = <A extends Values["values"]>(of: typeof inputs, name: string, kind: { new (): A }) => {
    const where = of[name]
    if (where === undefined || typeof where === "string") throw new Error(`${id}: no column "${name}"`)
    const values = readColumn(where)
    if (!(values.values instanceof kind)) throw new Error(`${id}: column "${name}" is ${where.dtype}`)
    return values as Values<A>
  }
  const path = (name: string) => {
    const file = inputs[name] ?? outputs[name]
    if (typeof file !== "string") throw new Error(`${id}: no file "${name}"`)
    return join(goldenFolder, file)
  }
  const scalar = (name: string) => {
    const value = scalars[name]
    if (typeof value !== "number") throw new Error(`${id}: no scalar "${name}"`)
    return value
  }
  const tolerance = (name: string) => Schema.decodeUnknownSync(Tolerance)(tolerances[name])
  return {
    id,
    params: Schema.decodeUnknownSync(Params)(found.params),
    input: (name, kind) => column(inputs, name, kind),
    output: (name, kind) => column(outputs, name, kind),
    outputs: Object.keys(outputs),
    scalars,
    scalar,
    tolerances,
    tolerance,
    check: (name, x, allowed = tolerance(name)) => {
      const where = outputs[name]
      const expected = where === undefined || typeof where === "string" ? [scalar(name)] : readColumn(where).values
      return expectWithin(`${id} ${name}`, typeof x === "number" ? [x] : x, expected, allowed)
    },
    json: (name) => JSON.parse(readFileSync(path(name), "utf8")),
    path
  }
}

/** The formula's hash of three unsigned 32-bit integers. */
export const formulaHash = (salt: number, k: number, i: number): number => {
  let x = (Math.imul(salt, 0x9e3779b1) + Math.imul(k, 0x85ebca77) + Math.imul(i, 0xc2b2ae3d)) | 0
  x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d)
  x = Math.imul(x ^ (x >>> 12), 0x297a2d39)
  return (x ^ (x >>> 15)) >>> 0
}

/** r(salt, k, i) in [−1, 1). */
export const formulaNumber = (salt: number, k: number, i: number): number =>
  (formulaHash(salt, k, i) >>> 8) / 8388608 - 1

/** A tensor as a parameter list (`*_params.json`) names it. */
export const FormulaTensor = Schema.Struct({ k: Schema.Int, name: Schema.String, shape: Schema.Array(Schema.Int) })

const formulaRule = (name: string, shape: ReadonlyArray<number>): ((r: number) => number) => {
  if (name.endsWith("num_batches_tracked") || name.endsWith("feat_bn.bias")) return () => 0
  if (name.endsWith("running_mean")) return (r) => 0.125 * r
  if (name.endsWith("running_var")) return (r) => 2 + 0.5 * r
  if (name.endsWith("bias")) return (r) => 0.125 * r
  if (shape.length === 1) return name.endsWith(".bn3.weight") ? (r) => 0.25 + 0.0625 * r : (r) => 1 + 0.125 * r
  const scale = Math.fround(Math.sqrt(6 / shape.slice(1).reduce((a, b) => a * b, 1)))
  return (r) => scale * r
}

/** The formula's values of one tensor of a network, in PyTorch's layout. */
export const formulaTensor = (salt: number, { k, name, shape }: typeof FormulaTensor.Type): Float32Array => {
  const rule = formulaRule(name, shape)
  return Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => rule(formulaNumber(salt, k, i)))
}

const SafetensorsHeader = Schema.Record(
  Schema.String,
  Schema.Struct({
    dtype: Schema.Literals(["F32", "I64"]),
    shape: Schema.Array(Schema.Int),
    data_offsets: Schema.Tuple([Schema.Int, Schema.Int])
  })
)

/** The tensors of a golden safetensors file by name. */
export const readGoldenTensors = (file: string): ReadonlyMap<string, ArrayLike<number>> => {
  const bytes = readFileSync(file)
  const start = 8 + Number(bytes.readBigUInt64LE(0))
  const header = Schema.decodeUnknownSync(SafetensorsHeader)(JSON.parse(bytes.toString("utf8", 8, start)))
  return new Map(
    Object.entries(header).map(([name, { dtype, data_offsets }]) => {
      const [from, to] = data_offsets
      const own = Uint8Array.from(bytes.subarray(start + from, start + to)).buffer
      return [name, dtype === "F32" ? new Float32Array(own) : Float64Array.from(new BigInt64Array(own), Number)]
    })
  )
}
