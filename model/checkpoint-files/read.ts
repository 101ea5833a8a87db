/** Reads checkpoint files of any of the formats, told apart by their first bytes. */
import { readFile, stat } from "node:fs/promises"
import { Effect } from "effect"
import { readArrowCheckpoint } from "#model/checkpoint-files/arrow.ts"
import type { Pickled } from "#model/checkpoint-files/pickle.ts"
import { legacyMagic, PickledTensor, readPytorchLegacy, readPytorchZip } from "#model/checkpoint-files/pytorch.ts"
import { CheckpointRefused, fileProblemOf, Refusal, refuse } from "#model/checkpoint-files/refusal.ts"
import { readSafetensors } from "#model/checkpoint-files/safetensors.ts"
import type { FileTensor } from "#model/checkpoint-files/tensor.ts"

export type StateDict = ReadonlyMap<string, FileTensor>

export interface CheckpointFile {
  readonly format: string
  /**
   * Tensors by name, by the key under which they lie: "" for the file's own top level, "state_dict" and the like in
   * PyTorch's, a network's name in an Arrow file. One at least.
   */
  readonly states: ReadonlyMap<string, StateDict>
  /** Numbers and texts that lie beside, such as the epoch. */
  readonly notes: ReadonlyMap<string, string | number>
}

const tensorsIn = (value: Pickled): StateDict =>
  new Map(
    value instanceof Map
      ? [...value].filter(([name, tensor]) => typeof name === "string" && tensor instanceof PickledTensor)
      : []
  )

/** What `torch.save` was given: a state dict, or a dict that holds some. */
const pytorchFile = (format: string, held: Pickled): CheckpointFile => {
  const entries = (held instanceof Map ? [...held] : []).map(([key, value]) => [String(key), value] as const)
  const nested = entries.map(([key, value]) => [key, tensorsIn(value)] as const)
  const states = [["", tensorsIn(held)] as const, ...nested].filter(([, { size }]) => size > 0)
  if (states.length === 0) return refuse("it holds no state_dict")
  const isNote = (value: Pickled) => typeof value === "string" || typeof value === "number"
  return { format, states: new Map(states), notes: new Map(entries.filter(([, value]) => isNote(value))) }
}

const startsWith = (bytes: Uint8Array, start: string | Uint8Array) =>
  Buffer.from(bytes.subarray(0, start.length)).equals(Buffer.from(start as string))

/** What the bytes of a checkpoint file hold. Throws a `Refusal`. */
export const checkpointOfBytes = (bytes: Uint8Array, file: string): CheckpointFile => {
  if (bytes.length === 0) return refuse("it is empty")
  if (startsWith(bytes, "PK")) return pytorchFile("PyTorch", readPytorchZip(bytes))
  if (startsWith(bytes, legacyMagic)) return pytorchFile("PyTorch, before 1.6", readPytorchLegacy(bytes))
  if (startsWith(bytes, "ARROW1")) return { format: "Arrow", states: readArrowCheckpoint(bytes), notes: new Map() }
  if (file.endsWith(".safetensors") || bytes[8] === "{".charCodeAt(0)) {
    const { tensors, notes } = readSafetensors(bytes)
    return { format: "safetensors", states: new Map([["", tensors]]), notes }
  }
  return refuse("it is none of PyTorch's .pth (by torch.save), .safetensors or a checkpoint.arrow")
}

/** Of what Node reads into memory at once; four ResNet-50 take 0.4 GB. */
const mostBytes = 2 ** 31 - 1

/** What a checkpoint file holds. Every byte that has a checksum is held against it; tensors are made when they are asked for. */
export const readCheckpointFile = (file: string): Effect.Effect<CheckpointFile, CheckpointRefused> => {
  const refused = (problem: string) => new CheckpointRefused({ file, problem })
  const read = async () => {
    const { size } = await stat(file)
    return size > mostBytes ? refuse(`it has ${size} bytes, at most ${mostBytes} are read`) : await readFile(file)
  }
  return Effect.tryPromise({
    try: read,
    catch: (cause) => refused(fileProblemOf(cause))
  }).pipe(
    Effect.flatMap((bytes) =>
      Effect.suspend(() => {
        try {
          return Effect.succeed(checkpointOfBytes(bytes, file))
        } catch (cause) {
          return cause instanceof Refusal ? Effect.fail(refused(cause.message)) : Effect.die(cause)
        }
      })
    )
  )
}
