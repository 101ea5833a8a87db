/** Which tasks of a run are done, stale, corrupt or missing, and why. */
import { createHash } from "node:crypto"
import { stat } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Option, Schema } from "effect"
import { openDataset } from "#data/dataset.ts"
import { CheckpointRefused, fileProblemOf } from "#model/checkpoint-files/refusal.ts"
import {
  type ArtifactFile,
  canonical,
  fileProblem,
  keyOf,
  type StepRecord,
  sha256Of,
  type TaskRecord
} from "#pipeline/manifest.ts"
import { mergedOver } from "#pipeline/settings.ts"
import { type StageName, stageOf } from "#pipeline/stages.ts"
import { type Source, type Step, sourcesOf, type Task } from "#pipeline/task-plan.ts"
import type { DecodeParams } from "#stages/decode.ts"

export type TaskState =
  | { readonly state: "done"; readonly record: TaskRecord }
  /** Made by other settings, inputs or stages. */
  | { readonly state: "stale"; readonly reasons: ReadonlyArray<string> }
  /** Made by what it would be made by now, but its files are gone, or others. */
  | { readonly state: "corrupt"; readonly record: TaskRecord; readonly reasons: ReadonlyArray<string> }
  | { readonly state: "missing" }

/** Digests of a task's output port, of those tasks that are done. */
export type Digests = (task: string, port: string) => ReadonlyArray<string> | undefined

export const digestsOf =
  (done: ReadonlyMap<string, TaskRecord>): Digests =>
  (task, port) =>
    done.get(task)?.outputs[port]?.files.map(({ sha256 }) => sha256)

/** Image files are no artifacts: their names, labels, sizes and times of change stand for them. */
const datasetDigest = (step: Step) =>
  Effect.gen(function* () {
    const { format, root, split, ...options } = (yield* wholeParams(step)) as typeof DecodeParams.Type
    const dataset = yield* openDataset(format, root, options)
    const hash = createHash("sha256")
    for (const { image, person, camera } of dataset.splits[split]) {
      const found = yield* Effect.promise(() => stat(join(root, image)).catch(() => undefined))
      hash.update(`${image}\0${person}\0${camera}\0${found?.size}\0${found?.mtimeMs}\n`)
    }
    return hash.digest("hex")
  })

const checkpointDigest = (file: string) =>
  Effect.tryPromise({
    try: () => sha256Of(file),
    catch: (cause) => new CheckpointRefused({ file, problem: fileProblemOf(cause) })
  })

/** A step's parameters with the stage's defaults and this machine's own. */
export const wholeParams = (step: Step): Effect.Effect<Readonly<Record<string, unknown>>> =>
  Schema.decodeUnknownEffect(stageOf(step.stage).params)({ ...step.params, ...step.local }).pipe(Effect.orDie)

/** Digests of what a step takes in from outside of the run: a data set's images, files of weights. */
const outerInputs = (step: Step) =>
  Effect.gen(function* () {
    const inputs: Record<string, ReadonlyArray<string>> = {}
    if (step.stage === "decode") inputs.dataset = [yield* datasetDigest(step)]
    if (step.local?.weights)
      inputs.weights = yield* Effect.forEach(step.local.weights as Array<string>, checkpointDigest)
    return inputs
  })

/** What can keep a step from knowing what it takes in from outside: the data set or the file is not there. */
export type OuterError = Effect.Error<ReturnType<typeof outerInputs>>

type Outer = (step: Step, index: number) => Effect.Effect<StepRecord["inputs"], OuterError>

/** What a record says of its inputs from outside, where these cannot be read any more; `tell` hears why. */
export const orAsRecorded =
  (record: TaskRecord | undefined, tell: (problem: OuterError) => void): Outer =>
  (step, index) =>
    outerInputs(step).pipe(
      Effect.catch((problem) =>
        Effect.sync(() => {
          tell(problem)
          const { dataset, weights } = record?.steps[index]?.inputs ?? {}
          return { ...(dataset && { dataset }), ...(weights && { weights }) }
        })
      )
    )

const stepRecord = (step: Step, index: number, digests: Digests, outer: Outer) =>
  Effect.gen(function* () {
    const inputs: Record<string, ReadonlyArray<string>> = {}
    for (const [port, sources] of Object.entries(step.inputs))
      inputs[port] = sources.flatMap((source) => digests(source.task, source.port)!)
    Object.assign(inputs, yield* outer(step, index))
    const whole = Object.entries(yield* wholeParams(step))
    const params = Object.fromEntries(whole.filter(([key]) => !(key in (step.local ?? {}))))
    return { stage: step.stage, version: stageOf(step.stage).version, params, inputs } satisfies StepRecord
  })

/** The first input of a task that is not there yet. */
export const missingInput = (task: Task, digests: Digests): Source | undefined =>
  sourcesOf(task).find((source) => digests(source.task, source.port) === undefined)

/** What a task, whose inputs are there, is made by; `outer` says what comes from outside of the run. */
export const stepRecords = (task: Task, digests: Digests, outer: Outer = outerInputs) =>
  Effect.forEach(task.steps, (step, index) => stepRecord(step, index, digests, outer))

/**
 * A recorded step with parameters that have come to its stage since, at their defaults: with them it makes what it made then, or
 * the stage's version would have been counted up.
 */
const withPresentDefaults = (step: StepRecord): StepRecord => {
  const decoded = Schema.decodeUnknownOption(stageOf(step.stage as StageName).params)(step.params)
  return { ...step, params: mergedOver(Option.getOrUndefined(decoded), step.params) as StepRecord["params"] }
}

const shown = (value: unknown) => (value === undefined ? "none" : JSON.stringify(value))

/** What differs between how a step was made and how it would be made now. */
const differences = (was: StepRecord | undefined, now: StepRecord): ReadonlyArray<string> => {
  if (was === undefined || was.stage !== now.stage) return [`stage ${now.stage} is new in it`]
  const params = [...new Set([...Object.keys(was.params), ...Object.keys(now.params)])]
    .filter((key) => canonical(was.params[key]) !== canonical(now.params[key]))
    .map((key) => `${now.stage}.${key}: ${shown(was.params[key])} → ${shown(now.params[key])}`)
  const inputs = Object.keys(now.inputs)
    .filter((port) => String(was.inputs[port]) !== String(now.inputs[port]))
    .map((port) => `input ${port} of ${now.stage} has changed`)
  const version = was.version === now.version ? [] : [`stage ${now.stage}: version ${was.version} → ${now.version}`]
  return [...version, ...params, ...inputs]
}

/**
 * Whether a record is of the settings that a task has now, and of inputs that are recorded still. Neither files nor
 * images are looked at, and what has come to the stages since (a version, a parameter at its default) is passed over: this is for
 * reading results, of which a run that was changed and not finished has old and new ones.
 */
export const isOfSettings = (task: Task, record: TaskRecord, digests: Digests): Effect.Effect<boolean> =>
  Effect.map(Effect.forEach(task.steps, wholeParams), (params) =>
    task.steps.every((step, i) => {
      const recorded = record.steps[i]
      if (recorded?.stage !== step.stage) return false
      const was = withPresentDefaults(recorded)
      const changed = Object.keys(was.params).some((key) => {
        const now = params[i]![key]
        return now !== undefined && canonical(was.params[key]) !== canonical(now)
      })
      const inputs = Object.entries(step.inputs).every(
        ([port, sources]) =>
          String(was.inputs[port]) ===
          String(sources.flatMap((source) => digests(source.task, source.port) ?? ["none"]))
      )
      return !changed && inputs
    })
  )

/** What a task would be made by now that it was not made by: versions, parameters, inputs. Nothing where its record is of the same key. */
export const changesSince = (record: TaskRecord, steps: ReadonlyArray<StepRecord>): ReadonlyArray<string> => {
  const recorded = record.steps.map(withPresentDefaults)
  if (record.key === keyOf(steps) || keyOf(recorded) === keyOf(steps)) return []
  const reasons = steps.flatMap((now, i) => differences(recorded[i], now))
  return reasons.length > 0 ? reasons : ["it has fewer stages now"]
}

/**
 * The state of a task that is recorded as done or not at all, given what it would be made by now. A file that has the time
 * of change with which it was written is taken as unchanged, unless every byte is asked for.
 */
export const taskState = (
  run: string,
  record: TaskRecord | undefined,
  steps: ReadonlyArray<StepRecord>,
  everyByte = false
) =>
  Effect.gen(function* () {
    if (record === undefined) return missing
    const changes = changesSince(record, steps)
    if (changes.length > 0) return stale(changes)
    const problemOf = (file: ArtifactFile) => fileProblem(run, everyByte ? { ...file, modified: Number.NaN } : file)
    const files = Object.values(record.outputs).flatMap((output) => output.files)
    const problems = yield* Effect.promise(() => Promise.all(files.map(problemOf)))
    const reasons = problems.filter((problem) => problem !== undefined)
    return (reasons.length > 0 ? { state: "corrupt", record, reasons } : { state: "done", record }) satisfies TaskState
  })

const missing: TaskState = { state: "missing" }

export const stale = (reasons: ReadonlyArray<string>): TaskState => ({ state: "stale", reasons })

/** Why a task is not done. */
export const reasonsOf = (state: TaskState): ReadonlyArray<string> => ("reasons" in state ? state.reasons : [])
