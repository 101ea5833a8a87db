/** Takes a network of a run home to PyTorch: a safetensors file with torchvision's names. */
import { stat } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Schema } from "effect"
import { exportedName, knownNames } from "#model/checkpoint-files/names.ts"
import { readCheckpointFile } from "#model/checkpoint-files/read.ts"
import { safetensorsBytes, type WritableTensor } from "#model/checkpoint-files/safetensors.ts"
import type { FileTensor } from "#model/checkpoint-files/tensor.ts"
import { NetworkMissing } from "#model/networks.ts"
import { readManifest, writeWhole } from "#pipeline/manifest.ts"
import { runFileOf } from "#pipeline/score.ts"
import { folderOf, mainAdaptation } from "#pipeline/task-plan.ts"

/** A run has no checkpoint yet that could be exported. */
export class NothingToExport extends Schema.TaggedError<NothingToExport>()("NothingToExport", {
  folder: Schema.String
}) {
  override get message() {
    return `${this.folder}: no epoch of its adaptation is done yet; export another checkpoint by its own path, as ${join(this.folder, "pretrain/student-1/epoch-001/checkpoint.arrow")}`
  }
}

/** The checkpoint of the last epoch that a run has done of its main adaptation. */
const lastCheckpoint = Effect.fn("lastCheckpoint")(function* (folder: string) {
  const { adapt } = yield* runFileOf(folder)
  const manifest = yield* readManifest(folder)
  for (let epoch = adapt.epochs; epoch > 0; epoch--) {
    const file = manifest.get(folderOf(mainAdaptation, "train", epoch))?.outputs.checkpoint?.files[0]
    if (file) return join(folder, file.path)
  }
  return yield* new NothingToExport({ folder })
})

const isFolder = (path: string) =>
  Effect.promise(() =>
    stat(path).then(
      (found) => found.isDirectory(),
      () => false
    )
  )

const writable = ({ dtype, shape, values }: FileTensor): WritableTensor => ({
  shape,
  values: dtype.includes("int")
    ? BigInt64Array.from(values() as Int32Array, BigInt)
    : Float32Array.from(values() as Float32Array)
})

/**
 * Writes one network of a checkpoint (of a run: the last epoch's) as safetensors: float32, and int64 counts, by torchvision's
 * names for the backbone and, unless it goes alone, `feat_bn.…` and `classifier.weight` for the head. Gives the
 * checkpoint that was read and the number of tensors.
 */
export const exportNetwork = Effect.fn("exportNetwork")(function* (
  from: string,
  network: string,
  out: string,
  backboneOnly: boolean
) {
  const source = (yield* isFolder(from)) ? yield* lastCheckpoint(from) : from
  const { states } = yield* readCheckpointFile(source)
  const state = states.get(network)
  if (state === undefined) return yield* new NetworkMissing({ network, present: [...states.keys()] })
  const exported = [...knownNames(state).tensors].filter(([name]) => !backboneOnly || name.startsWith("backbone."))
  const tensors = new Map(exported.map(([name, { tensor }]) => [exportedName(name), writable(tensor)] as const))
  yield* writeWhole(out, safetensorsBytes(tensors, { format: "pt", network }))
  return { source, tensors: tensors.size }
})
