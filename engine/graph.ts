/** A TensorFlow graph under construction, node by node, and its forms as a GraphDef and as a SavedModel file. */
import { createRequire } from "node:module"
import type { DataType } from "@tensorflow/tfjs-node-gpu"
import type { Backend, OpAttribute } from "#engine/op.ts"

/** A message that can be written. */
interface Message {
  serializeBinary(): Uint8Array
}

/** Messages of tfjs-node's own protobuf module, as far as a graph needs them. */
interface Messages {
  readonly AttrValue: (new () => AttrMessage) & {
    readonly ListValue: new () => Record<string, (values: unknown) => void>
  }
  readonly Tensor: new () => TensorMessage
  readonly TensorShape: (new () => { addDim: (dim: unknown) => void }) & {
    readonly Dim: new () => { setSize: (size: number) => void }
  }
  readonly NodeDef: new () => NodeMessage
  readonly VersionDef: new () => Message & { setProducer: (version: number) => void }
  readonly MetaGraphDef: { readonly MetaInfoDef: new () => Message & { addTags: (tag: string) => void } }
}
interface AttrMessage {
  setS(bytes: Uint8Array): void
  setI(value: number): void
  setF(value: number): void
  setB(value: boolean): void
  setType(type: number): void
  setShape(shape: unknown): void
  setTensor(tensor: unknown): void
  setList(list: unknown): void
}
interface TensorMessage {
  setDtype(type: number): void
  setTensorShape(shape: unknown): void
  setTensorContent(bytes: Uint8Array): void
}
interface NodeMessage extends Message {
  setName(name: string): void
  setOp(op: string): void
  addInput(input: string): void
  getAttrMap(): { set(name: string, value: AttrMessage): void }
}

const require = createRequire(import.meta.url)
const loadMessages = () => require("@tensorflow/tfjs-node-gpu/dist/proto/api_pb.js") as Messages

/** GraphDef version that this graph's ops follow: that of TensorFlow 2.9 and later. */
const producer = 1882

// Numbers of the fields of these messages in TensorFlow's .proto files.
const savedModel = { metaGraphs: 2 }
const metaGraphDef = { metaInfoDef: 1, graphDef: 2 }
const graphDef = { node: 1, versions: 4 }

/** The tag under which the graph is saved and loaded. */
export const savedModelTag = "mmt"

/** What a constant or variable holds: TensorFlow's type number and its bytes. */
export interface Content {
  readonly type: number
  readonly shape: ReadonlyArray<number>
  readonly bytes: Uint8Array
}

/** Field `number` of a protobuf message, whose content is the given bytes one after the other. */
const field = (number: number, ...parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const head = [(number << 3) | 2]
  let length = parts.reduce((sum, part) => sum + part.length, 0)
  for (; length > 0x7f; length = Math.floor(length / 0x80)) head.push((length % 0x80) | 0x80)
  return Buffer.concat([Uint8Array.of(...head, length), ...parts])
}

/** A graph that grows by nodes; names are given out in order. */
export class Graph {
  readonly #messages = loadMessages()
  /** The nodes as they are written: as messages they would take a hundred times the memory. */
  readonly #nodes: Array<Uint8Array> = []
  readonly #backend: Backend
  /** Small constants by their content. */
  readonly #constants = new Map<string, string>()
  size = 0

  constructor(backend: Backend) {
    this.#backend = backend
  }

  /** Adds a node and gives its name. Inputs are `name`, `name:output` or `^name` for mere order. */
  add(op: string, inputs: ReadonlyArray<string>, attributes: ReadonlyArray<OpAttribute>): string {
    const name = `n${this.size++}`
    const node = this.#node(name, op, inputs)
    for (const attribute of attributes) node.getAttrMap().set(attribute.name, this.#attribute(attribute))
    this.#nodes.push(field(graphDef.node, node.serializeBinary()))
    return name
  }

  /** Adds a node of one type and shape, as placeholders and variables are. */
  addTyped(
    op: string,
    typeName: string,
    dtype: DataType,
    shape: ReadonlyArray<number>,
    text: Record<string, string> = {}
  ) {
    const { binding } = this.#backend
    return this.add(
      op,
      [],
      [
        { name: typeName, type: binding.TF_ATTR_TYPE, value: this.#backend.getDTypeInteger(dtype) },
        { name: "shape", type: binding.TF_ATTR_SHAPE, value: [...shape] },
        ...Object.entries(text).map(([name, value]) => ({ name, type: binding.TF_ATTR_STRING, value }))
      ]
    )
  }

  /** A node of this content; equal small ones are one node. */
  addConstant(content: Content): string {
    if (content.bytes.length > 64) return this.#addConstant(content)
    const key = JSON.stringify([content.type, content.shape, [...content.bytes]])
    const name = this.#constants.get(key) ?? this.#addConstant(content)
    this.#constants.set(key, name)
    return name
  }

  #addConstant({ type, shape, bytes }: Content): string {
    const name = `n${this.size++}`
    const node = this.#node(name, "Const", [])
    const tensor = new this.#messages.Tensor()
    tensor.setDtype(type)
    tensor.setTensorShape(this.#shape(shape))
    tensor.setTensorContent(bytes)
    const value = new this.#messages.AttrValue()
    value.setTensor(tensor)
    node.getAttrMap().set("value", value)
    const dtype = new this.#messages.AttrValue()
    dtype.setType(type)
    node.getAttrMap().set("dtype", dtype)
    this.#nodes.push(field(graphDef.node, node.serializeBinary()))
    return name
  }

  #version(): Uint8Array {
    const version = new this.#messages.VersionDef()
    version.setProducer(producer)
    return field(graphDef.versions, version.serializeBinary())
  }

  /** The bytes of a GraphDef. */
  toGraphDef(): Uint8Array {
    return Buffer.concat([...this.#nodes, this.#version()])
  }

  /** The bytes of `saved_model.pb`. */
  toSavedModel(): Uint8Array {
    const info = new this.#messages.MetaGraphDef.MetaInfoDef()
    info.addTags(savedModelTag)
    const graph = field(metaGraphDef.graphDef, ...this.#nodes, this.#version())
    return field(savedModel.metaGraphs, field(metaGraphDef.metaInfoDef, info.serializeBinary()), graph)
  }

  #node(name: string, op: string, inputs: ReadonlyArray<string>): NodeMessage {
    const node = new this.#messages.NodeDef()
    node.setName(name)
    node.setOp(op)
    for (const input of inputs) node.addInput(input)
    return node
  }

  #shape(shape: ReadonlyArray<number>) {
    const message = new this.#messages.TensorShape()
    for (const size of shape) {
      const dim = new this.#messages.TensorShape.Dim()
      dim.setSize(size)
      message.addDim(dim)
    }
    return message
  }

  #attribute({ type, value }: OpAttribute): AttrMessage {
    const { binding } = this.#backend
    const message = new this.#messages.AttrValue()
    const bytes = (text: unknown) => Buffer.from(text as string)
    if (type === binding.TF_ATTR_SHAPE) message.setShape(this.#shape(value as Array<number>))
    else if (Array.isArray(value)) {
      const list = new this.#messages.AttrValue.ListValue()
      if (type === binding.TF_ATTR_TYPE) list.setTypeList!(value)
      else if (type === binding.TF_ATTR_INT) list.setIList!(value)
      else if (type === binding.TF_ATTR_FLOAT) list.setFList!(value)
      else if (type === binding.TF_ATTR_BOOL) list.setBList!(value)
      else list.setSList!(value.map(bytes))
      message.setList(list)
    } else if (type === binding.TF_ATTR_TYPE) message.setType(value as number)
    else if (type === binding.TF_ATTR_INT) message.setI(value as number)
    else if (type === binding.TF_ATTR_FLOAT) message.setF(value as number)
    else if (type === binding.TF_ATTR_BOOL) message.setB(value as boolean)
    else message.setS(bytes(value))
    return message
  }
}
