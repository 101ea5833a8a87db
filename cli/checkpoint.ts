/** `mmt checkpoint`: what a checkpoint file holds and would be here, and networks of a run for PyTorch. */
import { Console, Effect, Result } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { count } from "#cli/progress.ts"
import { table } from "#cli/table.ts"
import { type KnownNames, knownNames } from "#model/checkpoint-files/names.ts"
import { readCheckpointFile, type StateDict } from "#model/checkpoint-files/read.ts"
import { type BackboneName, backbones, type ModelConfig } from "#model/config.ts"
import { fitWeights } from "#model/weights.ts"
import { exportNetwork } from "#pipeline/checkpoint-export.ts"

const embeddingOf = (projection: ReadonlyArray<number> | undefined) =>
  projection?.[0] === undefined ? {} : { embedding: projection[0] }

/** A model of a backbone as the file's own tensors tell the rest of it. */
const modelOf = (backbone: BackboneName, { tensors, withoutStemRelu }: KnownNames): ModelConfig => ({
  backbone,
  ...embeddingOf(tensors.get("head.feat_reduction.weight")?.tensor.shape),
  ...(tensors.has("global_pooling.p") ? { pooling: "gem" } : {}),
  ...(withoutStemRelu ? { stemRelu: false } : {})
})

const keys = (model: ModelConfig) =>
  Object.entries(model)
    .map(([key, value]) => `${key}: ${String(value)}`)
    .join(", ")

/** For which of the backbones the tensors are those of a network, and what such a network starts anew; or what is nearest. */
const fits = (known: KnownNames, file: string): string => {
  const tried = (Object.keys(backbones) as Array<BackboneName>).map((backbone) => {
    const model = modelOf(backbone, known)
    return { model, fitted: fitWeights(known, model, file) }
  })
  for (const { model, fitted } of tried) {
    if (Result.isFailure(fitted)) continue
    const { initial, leftOut } = fitted.success
    const lines = [
      `fits model: { ${keys(model)} }`,
      ...(initial.length > 0 ? [`not in it, so new in a network: ${initial.join(", ")}`] : []),
      ...(leftOut.length > 0 ? [`left out: ${leftOut.join(", ")}`] : [])
    ]
    return lines.join("\n")
  }
  const problems = tried.flatMap(({ fitted }) => (Result.isFailure(fitted) ? [fitted.failure] : []))
  const size = ({ missing, unknown, wrong }: (typeof problems)[number]) =>
    missing.length + unknown.length + wrong.length
  return problems.toSorted((a, b) => size(a) - size(b))[0]!.message
}

const stateText = (key: string, state: StateDict, file: string) => {
  const known = knownNames(state)
  const here = new Map([...known.tensors].map(([name, { inFile }]) => [inFile, name]))
  const rows = [...state].map(([name, { dtype, shape }]) => [
    name,
    dtype,
    `[${shape.join(", ")}]`,
    here.get(name) ?? "–"
  ])
  return [
    `${key === "" ? "" : `${key}: `}${count(state.size)} tensors`,
    table(["tensor", "dtype", "shape", "here"], rows),
    fits(known, file)
  ].join("\n\n")
}

const show = Command.make(
  "show",
  {
    file: Argument.String("FILE").pipe(
      Argument.withDescription("A checkpoint: PyTorch's .pth, .safetensors or a checkpoint.arrow")
    )
  },
  Effect.fn("mmt checkpoint show")(function* ({ file }) {
    const { format, states, notes } = yield* readCheckpointFile(file)
    const beside = [...notes].map(([key, value]) => `  ${key} = ${value}`)
    const head = [`${file}: ${format}`, ...beside].join("\n")
    yield* Console.log([head, ...[...states].map(([key, state]) => stateText(key, state, file))].join("\n\n"))
  })
).pipe(
  Command.withShortDescription("Show a checkpoint: its tensors, and what they are here"),
  Command.withDescription(
    "Prints the tensors of a checkpoint file with the names that they have in a network here, and the model that it fits. Nothing in a file is run: of a pickle only what tensors are made of is read."
  ),
  Command.withExamples([
    { command: "mmt checkpoint show resnet50-19c8e357.pth", description: "Weights of ImageNet" },
    { command: "mmt checkpoint show runs/quickstart/train/epoch-010/checkpoint.arrow", description: "A run's networks" }
  ])
)

const exportCommand = Command.make(
  "export",
  {
    from: Argument.String("RUN").pipe(
      Argument.withDescription("A run's folder, of which the last epoch counts, or a checkpoint.arrow")
    ),
    network: Flag.String("network").pipe(
      Flag.withDescription("student-1, student-2, teacher-1 or teacher-2"),
      Flag.withDefault("teacher-1")
    ),
    out: Flag.String("out").pipe(Flag.withMetavar("FILE.safetensors"), Flag.withDescription("The file to write")),
    backboneOnly: Flag.Boolean("backbone-only").pipe(
      Flag.withDescription("Without head and classifier, for a torchvision ResNet whose fc is an Identity"),
      Flag.withDefault(false)
    )
  },
  Effect.fn("mmt checkpoint export")(function* ({ from, network, out, backboneOnly }) {
    const { source, tensors } = yield* exportNetwork(from, network, out, backboneOnly)
    yield* Console.log(`${out}: ${count(tensors)} tensors of ${network} in ${source}`)
  })
).pipe(
  Command.withShortDescription("Write a network as safetensors, by torchvision's names"),
  Command.withDescription(
    "Writes one network of a run as a safetensors file that PyTorch loads: float32, the backbone by torchvision's names (IBN-Net's for IBN), then feat_bn.* and classifier.weight."
  ),
  Command.withExamples([
    {
      command: "mmt checkpoint export runs/quickstart --network teacher-1 --out teacher-1.safetensors",
      description: "The first mean teacher after the last epoch"
    }
  ])
)

export const checkpoint = Command.make("checkpoint").pipe(
  Command.withDescription("Bring networks in and out"),
  Command.withSubcommands([show, exportCommand])
)
