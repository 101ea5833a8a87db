/** The keys of a run file: their schema, whose defaults are the paper's settings. */
import { Effect, Schema } from "effect"
import { Augmentation } from "#data/augmentation.ts"
import { ModelConfig } from "#model/config.ts"
import { consistent, DbscanSettings } from "#model/dbscan.ts"
import { consistentDepths } from "#model/k-reciprocal.ts"
import { Reranking } from "#model/reranking.ts"

const PositiveInt = Schema.Int.check(Schema.isGreaterThan(0))
const NotNegative = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))
const Positive = Schema.Finite.check(Schema.isGreaterThan(0))
const Share = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))

const withDefault = <S extends Schema.Top>(schema: S, value: S["Encoded"]) =>
  schema.pipe(Schema.withDecodingDefaultKey(Effect.succeed(value)))

const { colorJitter, blur } = Augmentation.fields
const jitterFields = colorJitter.schema.fields
const blurFields = blur.schema.fields

/** Adjustments of colours, of which one at 0 is left out; the defaults are fast-reid's. */
const JitterKeys = Schema.Struct({
  probability: withDefault(jitterFields.probability, 0.5),
  /** Spread of the factor around 1; the hue's turn, in shares of the circle, spreads around 0. */
  brightness: withDefault(jitterFields.brightness, 0.15),
  contrast: withDefault(jitterFields.contrast, 0.15),
  saturation: withDefault(jitterFields.saturation, 0.1),
  hue: withDefault(jitterFields.hue, 0.1)
})

/** Gaussian blur; the defaults are OpenUnReID's. */
const BlurKeys = Schema.Struct({
  probability: withDefault(blurFields.probability, 0.5),
  /** Lowest and highest standard deviation, in pixels. */
  sigma: withDefault(blurFields.sigma, [0.1, 2])
})

const augmentationFields = (erase: number) => ({
  /** Probability of a horizontal flip. */
  flip: withDefault(Augmentation.fields.flip, 0.5),
  /** Black pixels around the image before the random crop. */
  pad: withDefault(Augmentation.fields.pad, 10),
  /** Probability of random erasing. */
  erase: withDefault(Augmentation.fields.erase, erase),
  /** Colour jitter after the crop; off where it is not given. */
  colorJitter: Schema.optionalKey(JitterKeys),
  /** Gaussian blur after it; off where it is not given. */
  blur: Schema.optionalKey(BlurKeys)
})

const batchFields = {
  /** P identities × K instances make a batch. */
  identities: withDefault(PositiveInt, 16),
  instances: withDefault(PositiveInt, 4)
}

const scheduleFields = (warmupEpochs: number, milestones: ReadonlyArray<number>) => ({
  learningRate: withDefault(Positive, 3.5e-4),
  /** Epochs in which the learning rate grows, iteration by iteration, from 0. */
  warmupEpochs: withDefault(NotNegative, warmupEpochs),
  /** Epochs after which the learning rate is multiplied by `milestoneFactor`. */
  milestones: withDefault(Schema.Array(NotNegative), milestones),
  milestoneFactor: withDefault(Positive, 0.1)
})

const DataSetRef = Schema.Struct({
  /** Layout of the folder. */
  format: withDefault(Schema.String, "market1501"),
  /** The data set's folder, relative to the run file. */
  root: Schema.NonEmptyString
})

const Data = Schema.Struct({
  /** The labelled camera network. */
  source: DataSetRef,
  /** The camera network to adapt to; labels of its training images are never read. */
  target: DataSetRef,
  height: withDefault(PositiveInt, 256),
  width: withDefault(PositiveInt, 128)
})

const Pretrain = Schema.Struct({
  epochs: withDefault(PositiveInt, 80),
  /** Iterations of an epoch. */
  iterations: withDefault(PositiveInt, 200),
  ...batchFields,
  ...scheduleFields(10, [40, 70]),
  weightDecay: withDefault(NotNegative, 5e-4),
  /** ε of the label-smoothed cross entropy. */
  labelSmoothing: withDefault(Share, 0.1),
  /** λs, the weight of the triplet loss. */
  triplet: withDefault(NotNegative, 1),
  /** 0 for the softmax-triplet loss; above, the triplet loss with this margin. */
  tripletMargin: withDefault(NotNegative, 0),
  ...augmentationFields(0)
})

const adaptFields = {
  epochs: withDefault(PositiveInt, 40),
  iterations: withDefault(PositiveInt, 400),
  ...batchFields,
  algorithm: withDefault(Schema.Literals(["kmeans", "dbscan"]), "kmeans"),
  /** Of k-means: M_t, the number of clusters. */
  classes: withDefault(PositiveInt, 500),
  /** Of k-means, relative to the embeddings' mean variance. */
  tolerance: withDefault(NotNegative, 1e-4),
  /** Of DBSCAN: the radius among Jaccard distances, which lie between 0 and 1; `auto` takes it from the first epoch's. */
  eps: withDefault(DbscanSettings.fields.eps, 0.6),
  /** Of DBSCAN: images within the radius of a core point, itself among them. */
  minSamples: withDefault(DbscanSettings.fields.minSamples, 4),
  /** Of DBSCAN: neighbours of which the k-reciprocal ones are taken. */
  k1: withDefault(DbscanSettings.fields.k1, 30),
  /** Of DBSCAN: nearest images over which the neighbours' weights are averaged. */
  k2: withDefault(DbscanSettings.fields.k2, 6),
  /** Of DBSCAN: how neighbours are listed and weighted, as OpenUnReID does or the original code (with its k1 of 20). */
  encoding: withDefault(DbscanSettings.fields.encoding, "openunreid"),
  /** Of DBSCAN: above 0, clusters must prove reliable at eps − gap and eps + gap, as in SpCL, whose gap is 0.02. */
  epsGap: withDefault(DbscanSettings.fields.epsGap, 0),
  /** λ_id: share of the soft cross entropy against the hard one. */
  softIdentity: withDefault(Share, 0.5),
  /** λ_tri: share of the soft triplet loss against the hard one. */
  softTriplet: withDefault(Share, 0.8),
  /**
   * Where the soft labels come from: the other student's mean teacher, or the other student as it is at that step (`students`, with
   * `meanTeachers: false`: the paper's "w/o mean teaching").
   */
  softLabels: withDefault(Schema.Literals(["mean-teachers", "students"]), "mean-teachers"),
  /** Whether the students have mean teachers, which then cluster and are evaluated in their place. */
  meanTeachers: withDefault(Schema.Boolean, true),
  /** α of the mean teachers. */
  momentum: withDefault(Share, 0.999),
  /** Whether α grows towards `momentum` by 1 − 1/(step + 1), or is `momentum` from the first step on (OpenUnReID). */
  momentumWarmup: withDefault(Schema.Boolean, true),
  /** When the mean teachers move: after each optimizer step, or before the next one's forward passes (OpenUnReID). */
  teacherUpdate: withDefault(Schema.Literals(["after-step", "before-forward"]), "after-step"),
  ...scheduleFields(0, []),
  weightDecay: withDefault(NotNegative, 5e-4),
  labelSmoothing: withDefault(Share, 0.1),
  tripletMargin: withDefault(NotNegative, 0),
  distanceGradient: withDefault(Schema.Literals(["full", "anchor-only"]), "full"),
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
  /** Evaluates after each so many epochs, and after the last. */
  every: withDefault(PositiveInt, 1),
  /** The k of CMC top-k. */
  ranks: withDefault(Schema.Array(PositiveInt), [1, 5, 10]),
  /** Ranks of each query that the rankings keep, beside all matches. */
  depth: withDefault(PositiveInt, 10),
  /** Whether distances are mixed with the k-reciprocal Jaccard distance (re-ranking) before the gallery is ranked. */
  rerank: withDefault(Schema.Boolean, false),
  /** Of the re-ranking: as OpenUnReID's test does it, or the classic script of Zhong et al. (`official`). */
  encoding: withDefault(Reranking.fields.encoding, "openunreid"),
  /** Of the re-ranking: neighbours of which the k-reciprocal ones are taken. */
  k1: withDefault(Reranking.fields.k1, 20),
  /** Of the re-ranking: nearest images over which the neighbours' weights are averaged. */
  k2: withDefault(Reranking.fields.k2, 6),
  /** Of the re-ranking: λ, the share of the original distance. */
  lambda: withDefault(Reranking.fields.lambda, 0.3)
}).check(Schema.makeFilter(consistentDepths))

const Engine = Schema.Struct({
  /** Threads that share the work of one op; half the cores where it is not given. */
  threadsPerOp: Schema.optionalKey(PositiveInt),
  /** Ops that run at the same time; 2 where it is not given. */
  opsAtOnce: Schema.optionalKey(PositiveInt)
})

export const variantName = /^[a-z0-9][a-z0-9-]*$/u

/** Names of variants that the folders and the table of a run have already. */
export const taken = ["decode", "pretrain", "embed", "cluster", "train", "evaluate", "source-only", "mmt"]

const Variants = Schema.Record(
  Schema.String.check(Schema.isPattern(variantName)),
  Schema.Record(Schema.String, Schema.Unknown)
)

export const Extends = Schema.Union([Schema.NonEmptyString, Schema.Array(Schema.NonEmptyString)])

/** The keys whose values are paths: relative to the file in which they stand. */
export const pathKeys = [
  ["data", "source", "root"],
  ["data", "target", "root"]
] as const

export const RunFile = Schema.Struct({
  /** Of the run; the file's own name where it is not given. */
  name: Schema.optionalKey(Schema.NonEmptyString),
  /**
   * Run files, relative to this one, whose keys stand unless this one gives its own: mappings are merged key by key, lists
   * and single values replaced; of several files the later ones win. Their names are not taken over.
   */
  extends: Schema.optionalKey(Extends),
  /** Everything random in the run follows from it. */
  seed: withDefault(Schema.Int, 1),
  data: Data,
  model: withDefault(ModelConfig, { backbone: "resnet-small" }),
  pretrain: withDefault(Pretrain, {}),
  adapt: withDefault(Adapt, {}),
  evaluate: withDefault(Evaluation, {}),
  /** How the engine uses the machine. It changes results by rounding alone, so what is done stays done. */
  engine: withDefault(Engine, {}),
  /** Further adaptations of the same pre-trained networks: by name, the keys of `adapt` in which each differs. */
  variants: withDefault(Variants, {})
}).annotate({ identifier: "RunFile" })
export type RunFile = typeof RunFile.Type
