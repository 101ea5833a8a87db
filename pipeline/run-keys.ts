/** The keys of a run file: their schema, whose defaults are the paper's settings. */
import { Effect, Schema } from "effect"
import { Augmentation } from "#data/augmentation-settings.ts"
import { cameraPatternFits, formatOf, readFields } from "#data/dataset.ts"
import { ModelConfig } from "#model/config.ts"
import { consistent, DbscanSettings } from "#model/dbscan.ts"
import { consistentDepths } from "#model/k-reciprocal.ts"
import { Reranking } from "#model/reranking.ts"

const PositiveInt = Schema.Int.check(Schema.isGreaterThan(0))
const NotNegative = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))
const Positive = Schema.Finite.check(Schema.isGreaterThan(0))
const Share = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))

/** A key with its default; the description is for the page of all keys and for editors. */
const withDefault = <S extends Schema.Top>(schema: S, value: S["Encoded"], description: string) =>
  (schema.annotate({ description, default: value as never }) as S).pipe(
    Schema.withDecodingDefaultKey(Effect.succeed(value))
  )

/** A key without a default. */
const optional = <S extends Schema.Top>(schema: S, description: string) =>
  Schema.optionalKey(schema.annotate({ description }) as S)

const required = <S extends Schema.Top>(schema: S, description: string) => schema.annotate({ description }) as S

const { colorJitter, blur } = Augmentation.fields
const jitterFields = colorJitter.schema.fields
const blurFields = blur.schema.fields

/** Adjustments of colours, of which one at 0 is left out; the defaults are fast-reid's. */
const JitterKeys = Schema.Struct({
  probability: withDefault(jitterFields.probability, 0.5, "Share of the views whose colours are jittered."),
  brightness: withDefault(
    jitterFields.brightness,
    0.15,
    "Spread of the brightness's factor around 1; 0 leaves this adjustment out, as with the others."
  ),
  contrast: withDefault(jitterFields.contrast, 0.15, "Spread of the contrast's factor around 1."),
  saturation: withDefault(jitterFields.saturation, 0.1, "Spread of the saturation's factor around 1."),
  hue: withDefault(jitterFields.hue, 0.1, "Spread of the hue's turn around 0, in shares of the circle.")
})

/** Gaussian blur; the defaults are OpenUnReID's. */
const BlurKeys = Schema.Struct({
  probability: withDefault(blurFields.probability, 0.5, "Share of the views that are blurred."),
  sigma: withDefault(blurFields.sigma, [0.1, 2], "Lowest and highest standard deviation, in pixels.")
})

const augmentationFields = (erase: number) => ({
  flip: withDefault(Augmentation.fields.flip, 0.5, "Probability of a horizontal flip."),
  pad: withDefault(Augmentation.fields.pad, 10, "Black pixels around the image before the random crop."),
  erase: withDefault(Augmentation.fields.erase, erase, "Probability of random erasing."),
  colorJitter: optional(JitterKeys, "Colour jitter after the crop; off where it is not given."),
  blur: optional(BlurKeys, "Gaussian blur after it; off where it is not given.")
})

const batchFields = {
  identities: withDefault(PositiveInt, 16, "P, the identities of a batch, which has P × K images."),
  instances: withDefault(PositiveInt, 4, "K, the images of each identity.")
}

const scheduleFields = (warmupEpochs: number, milestones: ReadonlyArray<number>) => ({
  learningRate: withDefault(Positive, 3.5e-4, "Adam's learning rate before the schedule's factors."),
  warmupEpochs: withDefault(
    NotNegative,
    warmupEpochs,
    "Epochs in which the learning rate grows, iteration by iteration, from 0."
  ),
  milestones: withDefault(
    Schema.Array(NotNegative),
    milestones,
    "Epochs after which the learning rate is multiplied by `milestoneFactor`."
  ),
  milestoneFactor: withDefault(Positive, 0.1, "Factor of the learning rate at each milestone.")
})

const DataSetRef = Schema.Struct({
  format: withDefault(readFields.format, "market1501", "Layout of the folder."),
  root: required(Schema.NonEmptyString, "The data set's folder, relative to the run file."),
  cameraPattern: optional(
    readFields.cameraPattern,
    "Of format folder: a regular expression whose group `camera` finds the camera in an image's path below the root; without it each sub-folder is a camera."
  )
}).check(cameraPatternFits)

const Data = Schema.Struct({
  source: optional(
    DataSetRef.check(
      Schema.makeFilter(
        ({ format }) => formatOf(format).labelled || `a source needs labels, which format ${format} does not have`
      )
    ),
    "The labelled camera network; without one there is no pre-training, and adaptation is unsupervised."
  ),
  target: required(
    DataSetRef,
    "The camera network to adapt to; labels of its training images are never read. One without labels (format folder) is not evaluated."
  ),
  height: withDefault(PositiveInt, 256, "Of the images, in pixels, to which they are resized."),
  width: withDefault(PositiveInt, 128, "Of the images, in pixels.")
})

const CheckpointName = Schema.NonEmptyString

const Model = Schema.Struct({
  ...ModelConfig.fields,
  weights: optional(
    CheckpointName,
    "A checkpoint file (PyTorch's .pth, .safetensors or a checkpoint.arrow), relative to the run file: the weights that both students start from, as of ImageNet. What it does not hold, such as the head, is drawn."
  )
})

const Pretrain = Schema.Struct({
  checkpoints: optional(
    Schema.Tuple([CheckpointName, CheckpointName]),
    "Checkpoint files of the two students, relative to the run file. Adaptation starts from them: nothing is pre-trained, and neither the source's images nor `model.weights` are read."
  ),
  epochs: withDefault(PositiveInt, 80, "Epochs of the pre-training."),
  iterations: withDefault(PositiveInt, 200, "Iterations of an epoch."),
  ...batchFields,
  ...scheduleFields(10, [40, 70]),
  weightDecay: withDefault(NotNegative, 5e-4, "Adam's weight decay (coupled L2)."),
  labelSmoothing: withDefault(Share, 0.1, "ε of the label-smoothed cross entropy."),
  triplet: withDefault(NotNegative, 1, "λs, the weight of the triplet loss."),
  tripletMargin: withDefault(
    NotNegative,
    0,
    "0 for the softmax-triplet loss; above, the triplet loss with this margin."
  ),
  ...augmentationFields(0)
})

const adaptFields = {
  epochs: withDefault(PositiveInt, 40, "Epochs of the adaptation: each embeds, clusters, trains and evaluates."),
  iterations: withDefault(PositiveInt, 400, "Iterations of an epoch."),
  ...batchFields,
  algorithm: withDefault(Schema.Literals(["kmeans", "dbscan"]), "kmeans", "How the target's images are clustered."),
  classes: withDefault(PositiveInt, 500, "Of k-means: M_t, the number of clusters."),
  tolerance: withDefault(NotNegative, 1e-4, "Of k-means, relative to the embeddings' mean variance."),
  eps: withDefault(
    DbscanSettings.fields.eps,
    0.6,
    "Of DBSCAN: the radius among Jaccard distances, which lie between 0 and 1; `auto` takes it from the first epoch's."
  ),
  minSamples: withDefault(
    DbscanSettings.fields.minSamples,
    4,
    "Of DBSCAN: images within the radius of a core point, itself among them."
  ),
  k1: withDefault(DbscanSettings.fields.k1, 30, "Of DBSCAN: neighbours of which the k-reciprocal ones are taken."),
  k2: withDefault(
    DbscanSettings.fields.k2,
    6,
    "Of DBSCAN: nearest images over which the neighbours' weights are averaged."
  ),
  encoding: withDefault(
    DbscanSettings.fields.encoding,
    "openunreid",
    "Of DBSCAN: how neighbours are listed and weighted, as OpenUnReID does or the original code (with its k1 of 20)."
  ),
  epsGap: withDefault(
    DbscanSettings.fields.epsGap,
    0,
    "Of DBSCAN: above 0, clusters must prove reliable at eps − gap and eps + gap, as in SpCL, whose gap is 0.02."
  ),
  softIdentity: withDefault(Share, 0.5, "λ_id: share of the soft cross entropy against the hard one."),
  softTriplet: withDefault(Share, 0.8, "λ_tri: share of the soft triplet loss against the hard one."),
  softLabels: withDefault(
    Schema.Literals(["mean-teachers", "students"]),
    "mean-teachers",
    "Where the soft labels come from: the other student's mean teacher, or the other student as it is at that step (`students`, with `meanTeachers: false`: the paper's \"w/o mean teaching\")."
  ),
  meanTeachers: withDefault(
    Schema.Boolean,
    true,
    "Whether the students have mean teachers, which then cluster and are evaluated in their place."
  ),
  momentum: withDefault(Share, 0.999, "α of the mean teachers."),
  momentumWarmup: withDefault(
    Schema.Boolean,
    true,
    "Whether α grows towards `momentum` by 1 − 1/(step + 1), or is `momentum` from the first step on (OpenUnReID)."
  ),
  teacherUpdate: withDefault(
    Schema.Literals(["after-step", "before-forward"]),
    "after-step",
    "When the mean teachers move: after each optimizer step, or before the next one's forward passes (OpenUnReID)."
  ),
  ...scheduleFields(0, []),
  weightDecay: withDefault(NotNegative, 5e-4, "Adam's weight decay (coupled L2)."),
  labelSmoothing: withDefault(Share, 0.1, "ε of the label-smoothed cross entropy on hard labels."),
  tripletMargin: withDefault(
    NotNegative,
    0,
    "0 for the softmax-triplet loss on hard labels; above, the triplet loss with this margin."
  ),
  distanceGradient: withDefault(
    Schema.Literals(["full", "anchor-only"]),
    "full",
    "Whether the gradient of a distance flows through both of its features, or the anchor's alone (OpenUnReID)."
  ),
  ...augmentationFields(0.5)
}

/** Settings of an adaptation. Soft losses need what gives the soft labels. */
export const Adapt = Schema.Struct(adaptFields).check(
  Schema.makeFilter(consistent),
  Schema.makeFilter(({ meanTeachers, softLabels, softIdentity, softTriplet }) => {
    if (softLabels === "students") return !meanTeachers || "softLabels: students goes with meanTeachers: false"
    return (
      meanTeachers ||
      softIdentity + softTriplet === 0 ||
      "softIdentity and softTriplet must be 0 without meanTeachers (or softLabels: students)"
    )
  })
)
export type Adapt = typeof Adapt.Type

const Evaluation = Schema.Struct({
  every: withDefault(
    PositiveInt,
    1,
    "Evaluates after each so many epochs, and after the last. `mmt score` names the best network of all of them too, a choice that the labels of the test set make."
  ),
  ranks: withDefault(Schema.Array(PositiveInt), [1, 5, 10], "The k of CMC top-k."),
  depth: withDefault(PositiveInt, 10, "Ranks of each query that the rankings keep, beside all matches."),
  rerank: withDefault(
    Schema.Boolean,
    false,
    "Whether distances are mixed with the k-reciprocal Jaccard distance (re-ranking) before the gallery is ranked."
  ),
  encoding: withDefault(
    Reranking.fields.encoding,
    "openunreid",
    "Of the re-ranking: as OpenUnReID's test does it, or the classic script of Zhong et al. (`official`)."
  ),
  k1: withDefault(Reranking.fields.k1, 20, "Of the re-ranking: neighbours of which the k-reciprocal ones are taken."),
  k2: withDefault(
    Reranking.fields.k2,
    6,
    "Of the re-ranking: nearest images over which the neighbours' weights are averaged."
  ),
  lambda: withDefault(Reranking.fields.lambda, 0.3, "Of the re-ranking: λ, the share of the original distance.")
}).check(Schema.makeFilter(consistentDepths))

const Engine = Schema.Struct({
  threadsPerOp: optional(PositiveInt, "Threads that share the work of one op; half the cores where it is not given."),
  opsAtOnce: optional(PositiveInt, "Ops that run at the same time; 2 where it is not given.")
})

const Train = Schema.Struct({
  checkpointEvery: withDefault(
    Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)),
    200,
    "Iterations of an epoch after which all that the training has come to is kept, so that a run that was broken off goes on from there; 0 keeps epochs alone. It changes no result. With `audit.tap` epochs alone are kept."
  )
})

const Audit = Schema.Struct({
  tap: withDefault(
    Schema.Array(Schema.Literals(["augment", "train-step"])),
    [],
    "What is kept of chosen iterations, in the folder `tap` of each task that trains: of `augment` the batches, of `train-step` the networks after the step and after the mean teachers' update. It changes no other byte of the run."
  ),
  every: withDefault(PositiveInt, 50, "The first iteration of each epoch, and every so many after it.")
})
export type Audit = typeof Audit.Type

export const variantName = /^[a-z0-9][a-z0-9-]*$/u

/** Names of variants that the folders and the table of a run have already. */
export const taken = [
  "decode",
  "pretrain",
  "embed",
  "cluster",
  "train",
  "evaluate",
  "start",
  "source-only",
  "mmt",
  "reruns"
]

const Variants = Schema.Record(
  Schema.String.check(Schema.isPattern(variantName)),
  Schema.Record(Schema.String, Schema.Unknown)
)

export const Extends = Schema.Union([Schema.NonEmptyString, Schema.Array(Schema.NonEmptyString)])

/** The keys whose values are paths: relative to the file in which they stand. */
export const pathKeys = [
  ["data", "source", "root"],
  ["data", "target", "root"],
  ["model", "weights"],
  ["pretrain", "checkpoints"]
] as const

/** What `mmt run --from` adds to a run file. */
const Branch = Schema.Struct({
  of: required(Schema.NonEmptyString, "The run that it branches from."),
  from: required(Schema.NonEmptyString, "The stage and epoch from which this file's settings hold, as `cluster@3`."),
  before: required(
    Schema.Record(Schema.String, Schema.Unknown),
    "That run's own keys, by which all that comes before is made."
  )
})

export const RunFile = Schema.Struct({
  name: optional(Schema.NonEmptyString, "Of the run; the file's own name where it is not given."),
  extends: optional(
    Extends,
    "Run files, relative to this one, whose keys stand unless this one gives its own: mappings are merged key by key, lists and single values replaced; of several files the later ones win. Their names are not taken over."
  ),
  seed: withDefault(Schema.Int, 1, "Everything random in the run follows from it."),
  data: required(Data, "The camera networks, and the size of their images."),
  model: withDefault(Model, { backbone: "resnet-small" }, "The networks."),
  pretrain: withDefault(Pretrain, {}, "The supervised training on the source: run twice, from two seeds."),
  adapt: withDefault(Adapt, {}, "The adaptation to the target by mutual mean-teaching."),
  evaluate: withDefault(Evaluation, {}, "How networks are scored on the target's test set, and when."),
  engine: withDefault(
    Engine,
    {},
    "How the engine uses the machine. It changes results by rounding alone, so what is done stays done."
  ),
  train: withDefault(Train, {}, "How every training is carried out."),
  audit: withDefault(Audit, {}, "What a run keeps beside its artifacts, for `mmt audit`."),
  variants: withDefault(
    Variants,
    {},
    "Further adaptations of the same pre-trained networks: by name, the keys of `adapt` in which each differs."
  ),
  branch: optional(Branch, "Of a branch of another run, as `mmt run --from` writes it.")
}).annotate({ identifier: "RunFile" })
export type RunFile = typeof RunFile.Type
