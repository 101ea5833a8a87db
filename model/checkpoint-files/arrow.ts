/** The networks of a `checkpoint` artifact in one Arrow file. */
import { type RecordBatch, RecordBatchReader } from "apache-arrow"
import { Refusal, refuse } from "#model/checkpoint-files/refusal.ts"
import { type Dtype, elementBytes, type FileTensor, sizeOf, valuesOfBytes } from "#model/checkpoint-files/tensor.ts"
import { arrowBytesProblem } from "#schemas/arrow-structure.ts"
import { cellError, columnError, viewOf } from "#schemas/artifact.ts"
import { checkpoint, optimizerTensor } from "#schemas/checkpoint.ts"

type Networks = Map<string, Map<string, FileTensor>>

/** Adds the tensors of a batch to those of their networks. */
const addBatch = (networks: Networks, batch: RecordBatch): void => {
  const wrong = columnError(checkpoint, batch.schema, "it") ?? cellError(checkpoint, batch, "it")
  if (wrong) refuse(wrong.message)
  const view = viewOf(checkpoint, batch)
  for (const [row, network] of view.network.entries()) {
    const [name, shape, data] = [view.name[row]!, view.shape[row]!, view.data[row]!]
    const dtype = view.dtype[row]! as Dtype
    if (!Object.hasOwn(elementBytes, dtype)) refuse(`${network} ${name}: its dtype ${dtype} is none that is read`)
    if (optimizerTensor.test(name)) continue
    if (sizeOf(shape) * elementBytes[dtype] !== data.length)
      refuse(`${network} ${name}: ${data.length} bytes for ${dtype} of shape [${shape}]`)
    const tensors = networks.get(network) ?? new Map()
    if (tensors.has(name)) refuse(`${network} ${name} is there twice`)
    networks.set(network, tensors.set(name, { dtype, shape, values: () => valuesOfBytes(dtype, data) }))
  }
}

/** The tensors of each network by name, without the optimizer's. The format has no checksum. Throws a `Refusal`. */
export const readArrowCheckpoint = (bytes: Uint8Array): ReadonlyMap<string, ReadonlyMap<string, FileTensor>> => {
  const networks: Networks = new Map()
  const problem = arrowBytesProblem(bytes)
  if (problem !== undefined) return refuse(problem)
  try {
    for (const batch of RecordBatchReader.from(bytes)) addBatch(networks, batch)
  } catch (cause) {
    throw cause instanceof Refusal ? cause : new Refusal(`its record batches are damaged: ${(cause as Error).message}`)
  }
  return networks.size > 0 ? networks : refuse("it holds no tensors")
}
