/** The declarative file of a run: its schema, whose defaults are the paper's settings, and how it is read. */
import { readFile } from "node:fs/promises"
import { basename, dirname, relative, resolve } from "node:path"
import { Effect, Result, Runtime, Schema } from "effect"
import { stringify } from "yaml"
import { Augmentation } from "#data/augmentation.ts"
import { ModelConfig } from "#model/config.ts"
import { decodeSettings, type Override, readYaml, valueAt, withOverride, yamlProblem } from "#pipeline/settings.ts"

const PositiveInt = Schema.Int.check(Schema.isGreaterThan(0))
const NotNegative = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))
const Positive = Schema.Finite.check(Schema.isGreaterThan(0))
const Share = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))

const withDefault = <S extends Schema.Top>(schema: S, value: S["Encoded"]) =>
  schema.pipe(Schema.withDecodingDefaultKey(Effect.succeed(value)))

const augmentationFields = (erase: number) => ({
  /** Probability of a horizontal flip. */
  flip: withDefault(Augmentation.fields.flip, 0.5),
  /** Black pixels around the image before the random crop. */
  pad: withDefault(Augmentation.fields.pad, 10),
  /** Probability of random erasing. */
  erase: withDefault(Augmentation.fields.erase, erase)
})

const batchFields = {
  /** P identities × K instances make a batch. */
  identities: withDefault(PositiveInt, 16),
  instances: withDefault(PositiveInt, 4)
}

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
  learningRate: withDefault(Positive, 3.5e-4),
  warmupEpochs: withDefault(NotNegative, 10),
  /** Epochs after which the learning rate is multiplied by 0.1. */
  milestones: withDefault(Schema.Array(NotNegative), [40, 70]),
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
  algorithm: withDefault(Schema.Literals(["kmeans"]), "kmeans"),
  /** M_t, the number of clusters. */
  classes: withDefault(PositiveInt, 500),
  /** Of k-means, relative to the embeddings' mean variance. */
  tolerance: withDefault(NotNegative, 1e-4),
  /** λ_id: share of the soft cross entropy against the hard one. */
  softIdentity: withDefault(Share, 0.5),
  /** λ_tri: share of the soft triplet loss against the hard one. */
  softTriplet: withDefault(Share, 0.8),
  /** Whether the students have mean teachers, which then cluster and are evaluated in their place. */
  meanTeachers: withDefault(Schema.Boolean, true),
  /** α of the mean teachers. */
  momentum: withDefault(Share, 0.999),
  learningRate: withDefault(Positive, 3.5e-4),
  weightDecay: withDefault(NotNegative, 5e-4),
  labelSmoothing: withDefault(Share, 0.1),
  tripletMargin: withDefault(NotNegative, 0),
  distanceGradient: withDefault(Schema.Literals(["full", "anchor-only"]), "full"),
  ...augmentationFields(0.5)
}

/** Settings of an adaptation. Soft losses need the mean teachers that give the soft labels. */
export const Adapt = Schema.Struct(adaptFields).check(
  Schema.makeFilter(
    ({ meanTeachers, softIdentity, softTriplet }) =>
      meanTeachers || softIdentity + softTriplet === 0 || "softIdentity and softTriplet must be 0 without meanTeachers"
  )
)
export type Adapt = typeof Adapt.Type

const Evaluation = Schema.Struct({
  /** Evaluates after each so many epochs, and after the last. */
  every: withDefault(PositiveInt, 1),
  /** The k of CMC top-k. */
  ranks: withDefault(Schema.Array(PositiveInt), [1, 5, 10]),
  /** Ranks of each query that the rankings keep, beside all matches. */
  depth: withDefault(PositiveInt, 10)
})

const Engine = Schema.Struct({
  /** Threads that share the work of one op; half the cores where it is not given. */
  threadsPerOp: Schema.optionalKey(PositiveInt),
  /** Ops that run at the same time; 2 where it is not given. */
  opsAtOnce: Schema.optionalKey(PositiveInt)
})

const variantName = /^[a-z0-9][a-z0-9-]*$/u

/** Names that the folders and the table of a run have already. */
const taken = ["decode", "pretrain", "embed", "cluster", "train", "evaluate", "source-only", "mmt"]

const Variants = Schema.Record(
  Schema.String.check(Schema.isPattern(variantName)),
  Schema.Record(Schema.String, Schema.Unknown)
)

/** What is wrong with the variants' names: the schema of the file's keys would call such a key unknown. */
const variantProblems = (input: unknown): ReadonlyArray<string> =>
  Object.keys(Object(valueAt(input, ["variants"]))).flatMap((name) => {
    if (!variantName.test(name)) return [`variant "${name}": expected a name of a-z, 0-9 and -`]
    return taken.includes(name) ? [`variant "${name}": expected another name; taken are ${taken.join(", ")}`] : []
  })

export const RunFile = Schema.Struct({
  /** Of the run; the file's own name where it is not given. */
  name: Schema.optionalKey(Schema.NonEmptyString),
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

/** A run that can be planned: the file's contents, its folder for relative paths, and each variant's whole settings. */
export interface RunConfig extends Omit<RunFile, "name" | "variants"> {
  readonly name: string
  readonly folder: string
  /** What the file and the overrides say, without defaults. */
  readonly given: unknown
  readonly variants: ReadonlyArray<readonly [name: string, settings: Adapt]>
}

/** A run file cannot be used: it is no YAML, a key is unknown or missing, a value has the wrong type. */
export class RunFileInvalid extends Schema.TaggedError<RunFileInvalid>()("RunFileInvalid", {
  file: Schema.String,
  problems: Schema.Array(Schema.String)
}) {
  readonly [Runtime.errorExitCode] = 2
  override get message() {
    return this.problems.map((problem) => `${this.file}: ${problem}`).join("\n")
  }
}

/** What a run is, from the text of its file; `file` names it in errors and is where relative paths start. */
export const parseRunFile = (
  text: string,
  file: string,
  overrides: ReadonlyArray<Override> = []
): Effect.Effect<RunConfig, RunFileInvalid> =>
  Effect.gen(function* () {
    const invalid = (problems: ReadonlyArray<string>) => new RunFileInvalid({ file, problems: [...problems] })
    const yaml = yield* Effect.try({ try: () => readYaml(text), catch: (cause) => invalid([yamlProblem(cause)]) })
    const input = overrides.reduce(withOverride, yaml)
    if (typeof input !== "object" || input === null || Array.isArray(input))
      return yield* invalid([`expected keys and their values, as "data: …", found ${JSON.stringify(input)}`])
    const misnamed = variantProblems(input)
    if (misnamed.length > 0) return yield* invalid(misnamed)
    const run = yield* Effect.fromResult(decodeSettings(RunFile, input)).pipe(Effect.mapError(invalid))
    const own = (valueAt(input, ["adapt"]) ?? {}) as object
    const variants = Object.entries(run.variants).map(([name, settings]) =>
      Result.map(decodeSettings(Adapt, { ...own, ...settings }, ["variants", name]), (adapt) => [name, adapt] as const)
    )
    const wrong = variants.filter(Result.isFailure).flatMap(({ failure }) => failure)
    if (wrong.length > 0) return yield* invalid(wrong)
    const name = run.name ?? basename(file).replace(/\.ya?ml$/, "")
    return { ...run, name, folder: resolve(dirname(file)), given: input, variants: variants.map(Result.getOrThrow) }
  })

/** The run file that a run keeps in its own folder: what was given, with the data's place as seen from there. */
export const keptRunFile = (run: RunConfig, folder: string): string => {
  const { given, name } = run
  const rooted = (domain: "source" | "target") => ({
    ...(valueAt(given, ["data", domain]) as object),
    root: relative(resolve(folder), resolve(run.folder, run.data[domain].root))
  })
  const data = { ...(valueAt(given, ["data"]) as object), source: rooted("source"), target: rooted("target") }
  return stringify({ name, ...(given as object), data })
}

/** Reads and checks a run file. */
export const readRunFile = (file: string, overrides: ReadonlyArray<Override> = []) =>
  Effect.gen(function* () {
    const text = yield* Effect.tryPromise({
      try: () => readFile(file, "utf8"),
      catch: (cause) => {
        const { code, message } = cause as NodeJS.ErrnoException
        const problem = code === "ENOENT" ? "there is no such file" : code === "EISDIR" ? "it is a folder" : message
        return new RunFileInvalid({ file, problems: [problem] })
      }
    })
    return yield* parseRunFile(text, file, overrides)
  })
