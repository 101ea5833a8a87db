/** Weights from checkpoint files for a network of this project: which tensors it takes, and what it cannot take them for. */
import { Effect, Result, Schema } from "effect"
import { type KnownNames, knownNames, type NamedTensor, stateOfStudent } from "#model/checkpoint-files/names.ts"
import { type CheckpointFile, readCheckpointFile } from "#model/checkpoint-files/read.ts"
import { CheckpointRefused } from "#model/checkpoint-files/refusal.ts"
import type { ModelConfig } from "#model/config.ts"
import { classifierName, type HostTensor, networkTensors } from "#model/network.ts"
import type { TensorSpec } from "#model/resnet.ts"

/** A checkpoint's tensors are not those of the model. All that differs is listed. */
export class WeightsUnfit extends Schema.TaggedError<WeightsUnfit>()("WeightsUnfit", {
  file: Schema.String,
  backbone: Schema.String,
  /** Tensors that the model has and the file lacks. */
  missing: Schema.Array(Schema.String),
  /** Tensors of the file that the model has not. */
  unknown: Schema.Array(Schema.String),
  /** Tensors of another shape or element type, or with values that are no finite numbers, each with what was expected. */
  wrong: Schema.Array(Schema.String)
}) {
  override get message() {
    const lists = [
      ["it lacks", this.missing],
      ["the model has no", this.unknown],
      ["wrong", this.wrong]
    ] as const
    const lines = lists
      .filter(([, names]) => names.length > 0)
      .map(([what, names]) => `  ${what} (${names.length}): ${names.join(", ")}`)
    return [`${this.file}: its tensors are not those of a ${this.backbone} network`, ...lines].join("\n")
  }
}

export interface Weights {
  /** By this project's names, in its layouts; all of the backbone, and what else the file holds. */
  readonly tensors: ReadonlyMap<string, HostTensor>
  /** Parts of the network that the file does not hold, which start as new ones do. */
  readonly initial: ReadonlyArray<string>
  /** Names of the file that are left there. */
  readonly leftOut: ReadonlyArray<string>
}

/** Parts that a file may lack as a whole, by what they are for. */
const optionalParts = ["global_pooling", "head", "classifier"]
const partOf = (name: string) => name.split(".")[0]!

const hostTensor = ({ kind }: TensorSpec, { tensor, inFile }: NamedTensor): Result.Result<HostTensor, string> => {
  const { dtype, shape } = tensor
  const isFloat = /float/.test(dtype)
  if (kind === "count") {
    if (!/^u?int/.test(dtype)) return Result.fail(`${inFile} is ${dtype}, expected int64`)
    return Result.succeed({ shape, values: Float64Array.of(Number(tensor.values()[0])) })
  }
  if (!isFloat) return Result.fail(`${inFile} is ${dtype}, expected float32`)
  const given = tensor.values()
  const values = given instanceof Float32Array ? given : Float32Array.from(given as Float64Array)
  const finite = values.every(Number.isFinite)
  return finite ? Result.succeed({ shape, values }) : Result.fail(`${inFile} holds a value that is no finite number`)
}

/** The network's tensors; a classifier of the file has as many classes as it has rows. */
const specsOf = (model: ModelConfig, { tensors }: KnownNames) => {
  const shape = tensors.get(classifierName)?.tensor.shape ?? []
  return networkTensors(model, shape[0] ?? 0)
}

const nameOfBackbone = ({ backbone }: ModelConfig) => (typeof backbone === "string" ? backbone : "residual")

/**
 * Takes the tensors of a network from a state dict's. The backbone must be there whole; pooling, head and classifier may be
 * missing. Counts of batches, which older files lack, start at 0.
 */
export const fitWeights = (
  known: KnownNames,
  model: ModelConfig,
  file: string
): Result.Result<Weights, WeightsUnfit> => {
  const specs = specsOf(model, known)
  const present = new Set([...known.tensors.keys()].map(partOf))
  const mayLack = ({ name, kind }: TensorSpec) =>
    kind === "count" || (optionalParts.includes(partOf(name)) && !present.has(partOf(name)))
  const names = new Set(specs.map(({ name }) => name))
  const missing = specs.filter((spec) => !known.tensors.has(spec.name) && !mayLack(spec)).map(({ name }) => name)
  const unknown = [...known.tensors].filter(([name]) => !names.has(name)).map(([, { inFile }]) => inFile)
  const wrong = known.twice.map((name) => `${name} is there under another name too`)
  if (known.withoutStemRelu && model.stemRelu !== false)
    wrong.push("its stem has no ReLU, as the original code's ResNet-50; set model.stemRelu: false")
  const tensors = new Map<string, HostTensor>()
  for (const spec of specs) {
    const given = known.tensors.get(spec.name)
    if (given === undefined) continue
    const found = given.tensor.shape
    if (String(found) !== String(spec.shape)) {
      wrong.push(`${given.inFile} has shape [${found}], expected [${spec.shape}]`)
      continue
    }
    const host = hostTensor(spec, given)
    if (Result.isSuccess(host)) tensors.set(spec.name, host.success)
    else wrong.push(host.failure)
  }
  if (missing.length + unknown.length + wrong.length > 0)
    return Result.fail(new WeightsUnfit({ file, backbone: nameOfBackbone(model), missing, unknown, wrong }))
  const parts = [...new Set(specs.map(({ name }) => partOf(name)))]
  return Result.succeed({ tensors, initial: parts.filter((part) => !present.has(part)), leftOut: known.leftOut })
}

/** Of a file that was read the weights of a student, by its number from 1. */
export const weightsOfStudent = (
  checkpoint: CheckpointFile,
  file: string,
  model: ModelConfig,
  number: number
): Effect.Effect<Weights, CheckpointRefused | WeightsUnfit> => {
  const state = stateOfStudent(checkpoint, number)
  const keys = [...checkpoint.states.keys()].map((key) => key || "its top level").join(", ")
  const problem = `it holds several networks (${keys}), none of which is called as student ${number}'s is`
  if (state === undefined) return Effect.fail(new CheckpointRefused({ file, problem }))
  return Effect.fromResult(fitWeights(knownNames(state), model, file))
}

/** The weights of a student in a checkpoint file. */
export const readWeights = (file: string, model: ModelConfig, number: number) =>
  Effect.flatMap(readCheckpointFile(file), (checkpoint) => weightsOfStudent(checkpoint, file, model, number))
