/**
 * Runs any op of TensorFlow by its name, with its attributes written as plain values.
 */
import type { DataId, DataType, Tensor, TensorInfo } from "@tensorflow/tfjs-node-gpu"
import type { TensorMetadata, TFEOpAttr, TFJSBinding } from "@tensorflow/tfjs-node-gpu/dist/tfjs_binding.js"
import type { TensorFlow } from "#engine/tensorflow.ts"

/** tfjs-node's backend, as far as the engine calls it: it keeps the tensors and executes ops through its addon. */
export interface Backend {
  /** Whether the addon found a GPU. */
  readonly isUsingGpuDevice: boolean
  readonly binding: Binding
  executeSingleOutput(name: string, attributes: Array<OpAttribute>, inputs: Array<TensorInfo>): Tensor
  executeMultipleOutputs(
    name: string,
    attributes: Array<OpAttribute>,
    inputs: Array<TensorInfo>,
    outputs: number
  ): Array<Tensor>
  readSync(dataId: DataId): unknown
  getDTypeInteger(dtype: DataType): number
  /** The addon's numbers of tensors; values that tfjs still holds itself are handed over. */
  getInputTensorIds(tensors: Array<TensorInfo>): Array<number>
  /** A tensor of the addon as one of tfjs. */
  createOutputTensor(metadata: TensorMetadata): Tensor
}

/** TensorFlow's addon, which the backend calls. */
export type Binding = TFJSBinding

/** An attribute as the addon takes it. */
export type OpAttribute = TFEOpAttr

/** An attribute of an op; lists are arrays. */
export type Attribute =
  | { readonly type: DataType }
  | { readonly int: number | ReadonlyArray<number> }
  | { readonly float: number | ReadonlyArray<number> }
  | { readonly bool: boolean | ReadonlyArray<boolean> }
  | { readonly string: string }
  | { readonly shape: ReadonlyArray<number> }

/** The attributes of an op, by name. */
export type Attributes = Readonly<Record<string, Attribute>>

/** A tuple of `N` tensors where `N` is known, an array otherwise. */
export type Outputs<N extends number, Found extends Array<Tensor> = []> = number extends N
  ? Array<Tensor>
  : Found["length"] extends N
    ? Found
    : Outputs<N, [...Found, Tensor]>

/** The backend of a loaded TensorFlow, with its own type. */
export function backendOf(tf: TensorFlow): Backend {
  return tf.backend() as unknown as Backend
}

/** A tensor of this shape and type without values, which nothing may read. */
export function valueless(tf: TensorFlow, shape: ReadonlyArray<number>, dtype: DataType): Tensor {
  const backend = backendOf(tf)
  return backend.createOutputTensor({ id: -1, shape: [...shape], dtype: backend.getDTypeInteger(dtype) })
}

function encode(backend: Backend, name: string, attribute: Attribute): OpAttribute {
  const { binding } = backend
  const [[kind, value]] = Object.entries(attribute) as [[string, OpAttribute["value"]]]
  switch (kind) {
    case "type":
      return { name, type: binding.TF_ATTR_TYPE, value: backend.getDTypeInteger(value as DataType) }
    case "int":
      return { name, type: binding.TF_ATTR_INT, value }
    case "float":
      return { name, type: binding.TF_ATTR_FLOAT, value }
    case "bool":
      return { name, type: binding.TF_ATTR_BOOL, value }
    case "string":
      return { name, type: binding.TF_ATTR_STRING, value }
    default:
      return { name, type: binding.TF_ATTR_SHAPE, value }
  }
}

/**
 * Runs the op `name` and gives its `outputs` tensors, which belong to the tidy scope around the call. tfjs's gradients do not
 * see through it: an op that must have one goes into a `tf.customGrad`. Throws what TensorFlow says of wrong attributes or
 * shapes.
 *
 * @example const [y, mean, variance] = runOp(tf, "FusedBatchNormV3", { T: { type: "float32" }, ... }, [x, ...], 6)
 */
export function runOp<const N extends number>(
  tf: TensorFlow,
  name: string,
  attributes: Attributes,
  inputs: ReadonlyArray<TensorInfo>,
  outputs: N
): Outputs<N> {
  const backend = backendOf(tf)
  const encoded = Object.entries(attributes).map(([key, attribute]) => encode(backend, key, attribute))
  return backend.executeMultipleOutputs(name, encoded, [...inputs], outputs) as Outputs<N>
}
