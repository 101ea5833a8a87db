/**
 * Names of a network's tensors elsewhere: torchvision's and timm's, IBN-Net's, OpenUnReID's, the original MMT code's, each as
 * they lie in files, behind the prefixes of wrappers. Sources: `torchvision.models.resnet`; `ibnnet.resnet_ibn`; OpenUnReID's
 * `ReIDBaseModel`, `TeacherStudentNetwork` and `DSBN`; `mmt.models.resnet` and `mmt.models.resnet_ibn`.
 */
import type { CheckpointFile, StateDict } from "#model/checkpoint-files/read.ts"
import type { FileTensor } from "#model/checkpoint-files/tensor.ts"

/** A tensor by the name that it has in its file. */
export interface NamedTensor {
  readonly inFile: string
  readonly tensor: FileTensor
}

/** A state dict by the names of this project. What has no place in a network of any kind here keeps its own name. */
export interface KnownNames {
  readonly tensors: ReadonlyMap<string, NamedTensor>
  /** What is in the file and is left there: the classifier of ImageNet's 1000 classes, students beside their mean teacher. */
  readonly leftOut: ReadonlyArray<string>
  /** Names of the file that mean the same tensor as another one. */
  readonly twice: ReadonlyArray<string>
  /** The original code's ResNet-50, whose stem has no ReLU: its layers are counted without one. */
  readonly withoutStemRelu: boolean
}

/** Of DataParallel, `torch.compile` and training frameworks. */
const wrappers = /^(?:(?:module|_orig_mod|model)\.)+/
const meanNet = "mean_net."
const studentNet = "net."
const domainBatchNorm = /^(.*)\.dsbn\.(\d+)\.([^.]+)$/
const torchvision = /^(?:conv1|bn1|layer[1-4])\./
const sequential = /^base\.(\d)\.(.*)$/
const imagenetClassifier = /^fc\.(?:weight|bias)$/
/** Of `torch.optim.swa_utils.AveragedModel`. */
const averagedCount = "n_averaged"

/** The original code's layers by number, with the stem's ReLU as one of them or without. */
const sequentialLayers = (withRelu: boolean) => [
  "conv1",
  "bn1",
  ...(withRelu ? ["relu"] : []),
  "maxpool",
  "layer1",
  "layer2",
  "layer3",
  "layer4"
]

/** The project's name of a tensor that has this one in its file. */
const ourName = (name: string, layers: ReadonlyArray<string>): string => {
  if (torchvision.test(name)) return `backbone.${name}`
  const [, number, rest] = sequential.exec(name) ?? []
  if (number !== undefined) return `backbone.${layers[Number(number)] ?? `base.${number}`}.${rest}`
  if (name.startsWith("feat_bn.")) return `head.${name}`
  return name.replace(/^feat\./, "head.feat_reduction.")
}

/** Of BatchNorm by domain the last one, which is the target's in OpenUnReID's configurations. */
const ofLastDomain = (names: ReadonlyArray<string>) => {
  const domains = names.flatMap((name) => domainBatchNorm.exec(name)?.[2] ?? [])
  const last = String(Math.max(0, ...domains.map(Number)))
  return (name: string): string | undefined => {
    const [, layer, domain, rest] = domainBatchNorm.exec(name) ?? []
    if (layer === undefined) return name
    return domain === last ? `${layer}.${rest}` : undefined
  }
}

/** What a state dict's names mean. Of OpenUnReID's pair of networks the mean teacher is taken, as its tests do. */
export const knownNames = (state: StateDict): KnownNames => {
  const stripped = [...state].map(([inFile, tensor]) => ({ inFile, tensor, name: inFile.replace(wrappers, "") }))
  const hasMeanNet = stripped.some(({ name }) => name.startsWith(meanNet))
  const unpaired = stripped.map((entry) => ({
    ...entry,
    name: hasMeanNet && entry.name.startsWith(meanNet) ? entry.name.slice(meanNet.length) : entry.name
  }))
  const names = unpaired.map(({ name }) => name)
  const domainName = ofLastDomain(names)
  const isSequential = names.some((name) => sequential.test(name))
  const withRelu = names.some((name) => name.startsWith("base.7."))
  const layers = sequentialLayers(withRelu)
  const tensors = new Map<string, NamedTensor>()
  const leftOut: Array<string> = []
  const twice: Array<string> = []
  for (const { inFile, tensor, name } of unpaired) {
    const layer = domainName(name)
    const unused =
      imagenetClassifier.test(name) || name === averagedCount || (hasMeanNet && name.startsWith(studentNet))
    if (unused || layer === undefined) {
      leftOut.push(inFile)
      continue
    }
    const ours = ourName(layer, layers)
    if (tensors.has(ours)) twice.push(inFile)
    else tensors.set(ours, { inFile, tensor })
  }
  return { tensors, leftOut, twice, withoutStemRelu: isSequential && !withRelu }
}

/** The name of a tensor in an exported file: torchvision's of the backbone, the original code's of the head. */
export const exportedName = (name: string): string =>
  name.replace(/^(?:backbone|head)\./, "").replace(/^feat_reduction\./, "feat.")

/**
 * Of a file that holds several networks that of a student (or its mean teacher) by its number, from 1: OpenUnReID numbers
 * its state dicts, an Arrow checkpoint has both by name. A file of one network gives that one.
 */
export const stateOfStudent = ({ states }: CheckpointFile, number: number): StateDict | undefined => {
  const keys = [
    `teacher-${number}`,
    `student-${number}`,
    `state_dict_${number}`,
    "state_dict",
    "model",
    "model_state_dict",
    ""
  ]
  const key = states.size === 1 ? [...states.keys()][0]! : keys.find((name) => states.has(name))
  return key === undefined ? undefined : states.get(key)
}
