/**
 * Writes down the ops of a step as nodes of a graph. While it runs, its tensors have a shape and a type but no values:
 * each op is executed on zeros, once for all its uses on such shapes, and only what shapes come out is kept. So tracing needs no
 * more memory than one op.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import type { TensorMetadata } from "@tensorflow/tfjs-node-gpu/dist/tfjs_binding.js"
import type { Graph } from "#engine/graph.ts"
import { type Backend, backendOf, type OpAttribute, valueless } from "#engine/op.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"

/** The step reads a value, on which its graph cannot depend: there is none while it is traced. */
export class ValueRead extends Error {
  readonly op: string
  constructor(op: string) {
    super(`the step reads the value of a tensor made by ${op}; give what depends on it as an input instead`)
    this.op = op
  }
}

/** The step draws random numbers, which would be the same in every run of its graph. */
export class RandomDrawn extends Error {
  constructor() {
    super(
      "the step draws random numbers while it is traced, so that every run would get the same; give them, or a seed, as an input"
    )
  }
}

/** A tensor without values: where it comes from in the graph. */
interface Symbolic {
  readonly ref: string
  readonly op: string
}

type DataId = tfjs.DataId
type Info = { readonly dataId: DataId; readonly shape: Array<number>; readonly dtype: tfjs.DataType }

const bytesOf = (values: ArrayBufferView) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength)

/** Shape of a convolution of images [N, H, W, C] by kernels [height, width, C, out]. */
const convolved = (images: ReadonlyArray<number>, kernels: ReadonlyArray<number>, value: (key: string) => unknown) => {
  const along = (key: "strides" | "dilations", axis: number) => (value(key) as ReadonlyArray<number>)[axis]!
  const span = (axis: 1 | 2) => {
    const border = value("padding") === "SAME" ? 0 : (kernels[axis - 1]! - 1) * along("dilations", axis)
    return Math.ceil((images[axis]! - border) / along("strides", axis))
  }
  return [images[0]!, span(1), span(2), kernels[3]!]
}

/** Shape of what an op of `addon/convolution.cc` gives; undefined of other ops. */
const ownConvolution = (name: string, a: Info, b: Info, value: (key: string) => unknown) => {
  const number = (key: string) => value(key) as number
  if (name === "MmtConvolutionInputGrad") return [a.shape[0]!, number("height"), number("width"), b.shape[2]!]
  if (name === "MmtConvolutionKernelGrad") return [number("height"), number("width"), a.shape[3]!, b.shape[3]!]
  if (name !== "MmtConvolution") return undefined
  const [n, height, width] = a.shape as [number, number, number]
  const [down, along] = [height - b.shape[0]!, width - b.shape[1]!]
  const places = (room: number) => Math.floor((room + 2 * number("padding")) / number("stride")) + 1
  return [n, places(down), places(along), b.shape[3]!]
}

/** What is traced at present, by the backend whose calls it takes. */
const tracing = new WeakMap<Backend, Trace>()

/**
 * `x` itself; in a step that is traced, what takes it does not run before `earlier` is there. It says in which order
 * independent parts of a step run, and so what is in memory at the same time. It has no gradient.
 */
export const after = <T extends tfjs.Tensor>(tf: TensorFlow, x: T, earlier: tfjs.Tensor): T =>
  (tracing.get(backendOf(tf))?.after(x, earlier) ?? x) as T

export class Trace {
  readonly #tf: TensorFlow
  readonly #backend: Backend
  readonly #graph: Graph
  readonly #symbolic = new Map<DataId, Symbolic>()
  readonly #constants = new Map<DataId, string>()
  /** Shapes and types of an op's outputs, by all that they depend on. */
  readonly #outputs = new Map<string, ReadonlyArray<TensorMetadata>>()
  /** Keeps the traced tensors' data ids from being used again for others. */
  readonly #seen: Array<DataId> = []

  constructor(tf: TensorFlow, graph: Graph) {
    this.#tf = tf
    this.#backend = backendOf(tf)
    this.#graph = graph
  }

  /** A tensor without values that stands for the node `ref`. */
  symbol(ref: string, op: string, shape: ReadonlyArray<number>, dtype: tfjs.DataType): tfjs.Tensor {
    const tensor = valueless(this.#tf, shape, dtype)
    this.#symbolic.set(tensor.dataId, { ref, op })
    this.#seen.push(tensor.dataId)
    return tensor
  }

  /** The node that gives a tensor's value; a tensor with values becomes a constant. */
  ref(tensor: Info): string {
    const known = this.#symbolic.get(tensor.dataId)?.ref ?? this.#constants.get(tensor.dataId)
    if (known !== undefined) return known
    const values = this.#backend.readSync(tensor.dataId) as Float32Array
    // tfjs keeps booleans and integers in arrays of its own choice.
    const typed =
      tensor.dtype === "bool"
        ? Uint8Array.from(values)
        : tensor.dtype === "int32"
          ? Int32Array.from(values)
          : Float32Array.from(values)
    const type = this.#backend.getDTypeInteger(tensor.dtype)
    const name = this.#graph.addConstant({ type, shape: tensor.shape, bytes: bytesOf(typed) })
    this.#constants.set(tensor.dataId, name)
    this.#seen.push(tensor.dataId)
    return name
  }

  after(x: tfjs.Tensor, earlier: tfjs.Tensor): tfjs.Tensor {
    const type = { name: "T", type: this.#backend.binding.TF_ATTR_TYPE, value: this.#backend.getDTypeInteger(x.dtype) }
    const [node] = this.ref(earlier).split(":")
    return this.symbol(this.#graph.add("Identity", [this.ref(x), `^${node}`], [type]), "Identity", x.shape, x.dtype)
  }

  /** Runs `step` with its ops written down. Neither are values to be read in it nor random numbers to be drawn. */
  run<A>(step: () => A): A {
    const backend = this.#backend
    const { executeSingleOutput, executeMultipleOutputs, readSync } = backend
    const execute = this.#execute.bind(this)
    backend.executeSingleOutput = (name, attributes, inputs) => execute(name, attributes, inputs, 1)[0]!
    backend.executeMultipleOutputs = execute
    backend.readSync = (dataId) => {
      const symbolic = this.#symbolic.get(dataId)
      if (symbolic) throw new ValueRead(symbolic.op)
      return readSync.call(backend, dataId)
    }
    const { random } = Math
    Math.random = () => {
      throw new RandomDrawn()
    }
    tracing.set(backend, this)
    try {
      return this.#tf.tidy(() => step() as tfjs.TensorContainer) as A
    } finally {
      tracing.delete(backend)
      Math.random = random
      Object.assign(backend, { executeSingleOutput, executeMultipleOutputs, readSync })
    }
  }

  #execute(name: string, attributes: Array<OpAttribute>, inputs: Array<tfjs.TensorInfo>, outputs: number) {
    const refs = inputs.map((input) => this.#inputRef(input))
    const node = this.#graph.add(name, refs, attributes)
    const given = inputs.map(({ dataId, dtype, shape }, i) => (this.#symbolic.has(dataId) ? [dtype, shape] : refs[i]))
    const key = JSON.stringify([name, attributes, given, outputs])
    const made =
      this.#outputs.get(key) ??
      this.#known(name, attributes, inputs) ??
      this.#executeOnZeros(name, attributes, inputs, outputs)
    this.#outputs.set(key, made)
    return made.map((metadata, index) => {
      const tensor = this.#backend.createOutputTensor({ ...metadata, shape: [...metadata.shape], id: -1 })
      this.#symbolic.set(tensor.dataId, { ref: index === 0 ? node : `${node}:${index}`, op: name })
      this.#seen.push(tensor.dataId)
      return tensor
    })
  }

  /**
   * What comes out of a matrix product, a convolution, the choice of the largest or a part of a tensor: that is known without
   * them, and of large tensors they take long on zeros, too. Undefined of other ops, and of products whose leading axes differ.
   */
  #known(name: string, attributes: Array<OpAttribute>, inputs: Array<tfjs.TensorInfo>) {
    const value = (key: string) => attributes.find((attribute) => attribute.name === key)!.value
    const [a, b] = inputs as [Info, Info]
    const leading = a?.shape.slice(0, -2)
    const dtype = () => value("T") as number
    if (name === "Conv2D" && value("data_format") === "NHWC")
      return [{ id: -1, shape: convolved(a.shape, b.shape, value), dtype: dtype() }]
    const ownShape = ownConvolution(name, a, b, value)
    if (ownShape) return [{ id: -1, shape: ownShape, dtype: this.#backend.binding.TF_FLOAT }]
    const sizes = { Conv2DBackpropInput: a, Conv2DBackpropFilter: b }[name]
    if (sizes) return [{ id: -1, shape: [...(this.#backend.readSync(sizes.dataId) as Int32Array)], dtype: dtype() }]
    if (name === "BatchMatMulV2" && String(leading) === String(b.shape.slice(0, -2))) {
      const rows = a.shape.at(value("adj_x") ? -1 : -2)!
      return [{ id: -1, shape: [...leading, rows, b.shape.at(value("adj_y") ? -2 : -1)!], dtype: dtype() }]
    }
    if (name === "Slice" && !this.#symbolic.has(inputs[2]!.dataId)) {
      const shape = [...(this.#backend.readSync(inputs[2]!.dataId) as Int32Array)]
      if (!shape.includes(-1)) return [{ id: -1, shape, dtype: dtype() }]
    }
    if (name !== "TopKV2") return undefined
    const shape = [...a.shape.slice(0, -1), (this.#backend.readSync(b.dataId) as Int32Array)[0]!]
    return [dtype(), this.#backend.binding.TF_INT32].map((type) => ({ id: -1, shape, dtype: type }))
  }

  #executeOnZeros(name: string, attributes: Array<OpAttribute>, inputs: Array<tfjs.TensorInfo>, outputs: number) {
    const { binding } = this.#backend
    const temporary: Array<number> = []
    const ids = inputs.map((input) => {
      if (!this.#symbolic.has(input.dataId)) return this.#backend.getInputTensorIds([input])[0]!
      const id = this.#zeros(input)
      temporary.push(id)
      return id
    })
    const made = binding.executeOp(name, attributes, ids, outputs)
    for (const id of [...temporary, ...made.map(({ id }) => id!)]) binding.deleteTensor(id)
    return made
  }

  #inputRef(input: tfjs.TensorInfo): string {
    // tfjs-node's Int64Scalar is no tensor: it carries its value itself.
    const { valueArray } = input as unknown as { readonly valueArray?: Int32Array }
    if (valueArray === undefined) return this.ref(input as Info)
    return this.#graph.addConstant({ type: this.#backend.binding.TF_INT64, shape: [], bytes: bytesOf(valueArray) })
  }

  #zeros({ shape, dtype }: tfjs.TensorInfo): number {
    const { binding } = this.#backend
    const type = this.#backend.getDTypeInteger(dtype)
    const zero = binding.createTensor(
      [],
      type,
      dtype === "bool" ? Uint8Array.of(0) : dtype === "int32" ? Int32Array.of(0) : Float32Array.of(0)
    )
    const dims = binding.createTensor([shape.length], binding.TF_INT32, Int32Array.from(shape))
    const attributes = [
      { name: "T", type: binding.TF_ATTR_TYPE, value: type },
      { name: "index_type", type: binding.TF_ATTR_TYPE, value: binding.TF_INT32 }
    ]
    const [filled] = binding.executeOp("Fill", attributes, [dims, zero], 1)
    binding.deleteTensor(zero)
    binding.deleteTensor(dims)
    return filled!.id!
  }
}
