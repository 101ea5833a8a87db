/** Tasks of a run made by other settings, beside the run's own: what comes out otherwise, and what would follow from it. */
import { createHash } from "node:crypto"
import { rename, rm } from "node:fs/promises"
import { dirname, join, relative } from "node:path"
import { Effect, Runtime, Schema } from "effect"
import { readLabels } from "#audit/artifact-readers.ts"
import { fileDifference } from "#audit/file-difference.ts"
import { type OpenRun, openRun, placeOf } from "#audit/open-run.ts"
import { folderBeside, RerunImpossible, withThreadsOf } from "#audit/rerun.ts"
import { makeFolder } from "#data/make-folder.ts"
import { type ClusterAgreement, clusterAgreement } from "#model/cluster-agreement.ts"
import { WriteFailed } from "#pipeline/arrow-file.ts"
import type { RunEvent } from "#pipeline/events.ts"
import { canonical, fileProblem, type TaskRecord, writeManifest, writeWhole } from "#pipeline/manifest.ts"
import { planTasks } from "#pipeline/plan.ts"
import { filesIn, makeTask } from "#pipeline/run.ts"
import { keptRunFile, type RunConfig, readRunFile } from "#pipeline/run-file.ts"
import { metricValues } from "#pipeline/score.ts"
import type { Override } from "#pipeline/settings.ts"
import { changesSince, digestsOf, missingInput, stepRecords } from "#pipeline/state.ts"
import { settingsOf, sourcesOf, type Task } from "#pipeline/task-plan.ts"
import { artifacts } from "#schemas/artifacts.ts"

/** The settings make no variant of the tasks. */
export class VariantRefused extends Schema.TaggedError<VariantRefused>()("VariantRefused", {
  problem: Schema.String
}) {
  readonly [Runtime.errorExitCode] = 2
  override get message() {
    return this.problem
  }
}

/** How the labels of two clusterings differ. */
export interface LabelChange extends ClusterAgreement {
  readonly clusters: readonly [was: number, now: number]
  readonly outliers: readonly [was: number, now: number]
}

/** An output port of a task in the variant beside the run's own. */
export interface OutputChange {
  readonly port: string
  readonly same: boolean
  readonly rows: readonly [was: number, now: number]
  /** Rows of both that differ; null where the files cannot be held against each other. */
  readonly differing: number | null
  /** The largest difference of two numbers at the same place. */
  readonly largest?: { readonly column: string; readonly difference: number }
  /** Of pseudo labels. */
  readonly labels?: LabelChange
  /** Of metrics, by name. */
  readonly metrics?: ReadonlyArray<{ readonly name: string; readonly was: number | null; readonly now: number | null }>
}

export interface TaskVariant {
  readonly task: string
  readonly changes: ReadonlyArray<string>
  readonly seconds: number
  readonly outputs: ReadonlyArray<OutputChange>
}

export interface Variant {
  readonly folder: string
  readonly tasks: ReadonlyArray<TaskVariant>
  /** Tasks of the run that would come out otherwise, as they take what has changed, or what is made of it. */
  readonly downstream: ReadonlyArray<string>
}

/** The settings as they hold for every task: also for those of before a branch's point. */
const everywhere = ({ branch }: RunConfig, set: ReadonlyArray<Override>): ReadonlyArray<Override> => [
  ...set,
  ...(branch ? everywhere(branch.before, set).map(({ key, value }) => ({ key: `branch.before.${key}`, value })) : [])
]

/** A folder's name that tells tasks and settings: `cluster-3,adapt.classes=100`. */
const variantName = (named: string, set: ReadonlyArray<Override>) => {
  const plain = (text: string) => text.replaceAll(/[^A-Za-z0-9.=_,+-]+/g, "-")
  const settings = set.map(({ key, value }) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`)
  const whole = [named.replace("@", "-").replaceAll("/", "-"), ...settings].join(",")
  const short = plain(whole).slice(0, 100)
  // What was cut or replaced is told apart by a digest.
  return short === whole ? whole : `${short}-${createHash("sha256").update(whole).digest("hex").slice(0, 8)}`
}

const refuseUnchanged = (tasks: ReadonlyArray<Task>, now: ReadonlyMap<string, Task>, id: string) => {
  const touched = tasks.filter((task) => {
    const own = now.get(task.id)
    return own && settingsOf(own) !== settingsOf(task)
  })
  const where =
    touched.length === 0
      ? "no task of the run"
      : touched
          .map((task) => task.id)
          .slice(0, 6)
          .join(", ")
  const more = touched.length > 6 ? ` and ${touched.length - 6} more` : ""
  return new VariantRefused({
    problem: `${id}: the settings change nothing in it; they change ${where}${more}. Without --set it is run again as it was`
  })
}

/** What a task is made by with other settings, from the inputs that the run has. */
const variantOf = (run: OpenRun, id: string, tasks: ReadonlyArray<Task>, now: ReadonlyMap<string, Task>) =>
  Effect.gen(function* () {
    const impossible = (problem: string) => new RerunImpossible({ folder: run.folder, task: id, problem })
    const record = run.tasks.get(id)
    if (record === undefined) return yield* impossible("it is not done yet")
    const task = now.get(id)
    if (task === undefined)
      return yield* new VariantRefused({ problem: `${id}: with these settings the run has no such task` })
    const digests = digestsOf(run.tasks)
    const missing = missingInput(task, digests)
    if (missing) return yield* impossible(`its input ${missing.task} is not done yet`)
    for (const source of sourcesOf(task))
      for (const file of run.tasks.get(source.task)!.outputs[source.port]!.files) {
        const problem = yield* Effect.promise(() => fileProblem(run.folder, file))
        if (problem !== undefined) return yield* impossible(`its input: ${problem}`)
      }
    const steps = yield* stepRecords(task, digests)
    const changes = changesSince(record, steps)
    if (changes.length === 0) return yield* refuseUnchanged(tasks, now, id)
    return { task, record, steps, changes }
  })

const labelChange = (was: ReadonlyMap<string, number>, now: ReadonlyMap<string, number>): LabelChange | undefined => {
  const agreement = clusterAgreement(was, now)
  const count = (labels: ReadonlyMap<string, number>) =>
    new Set([...labels.values()].filter((label) => label >= 0)).size
  const outliers = (labels: ReadonlyMap<string, number>) => [...labels.values()].filter((label) => label < 0).length
  return (
    agreement && {
      ...agreement,
      clusters: [count(was), count(now)],
      outliers: [outliers(was), outliers(now)]
    }
  )
}

const outputChange = (run: OpenRun, variant: OpenRun, id: string, port: string) =>
  Effect.gen(function* () {
    const filesOf = ({ files }: OpenRun) => files.filter((file) => file.task === id && file.port === port)
    const [was, now] = [filesOf(run), filesOf(variant)]
    const rows = [was, now].map((files) => files.reduce((sum, file) => sum + file.rows, 0)) as [number, number]
    const same = canonical(was.map(({ sha256 }) => sha256)) === canonical(now.map(({ sha256 }) => sha256))
    const change: OutputChange = { port, same, rows, differing: same ? 0 : null }
    if (same) return change
    const [before, after] = [was[0], now[0]]
    const artifact = artifacts.find(({ name }) => name === before?.artifact)
    const comparable = was.length === now.length && before && after && artifact
    if (!comparable) return change
    const compared = yield* Effect.forEach(was, (file, i) =>
      fileDifference(artifact, placeOf(run, file), placeOf(variant, now[i]!))
    )
    const labels =
      port === "pseudo-labels"
        ? labelChange(yield* readLabels(run, before), yield* readLabels(variant, after))
        : undefined
    const values =
      port === "metrics"
        ? [yield* metricValues(placeOf(run, before)), yield* metricValues(placeOf(variant, after))]
        : undefined
    const names = [...new Set(values?.flatMap(Object.keys))]
    const [largest] = compared
      .flatMap((one) => ("largest" in one && one.largest ? [one.largest] : []))
      .sort((a, b) => b.difference - a.difference)
    const compare: OutputChange = {
      ...{ port, same, rows, differing: compared.reduce((sum, one) => sum + one.differing, 0) },
      ...(largest ? { largest } : {}),
      ...(labels ? { labels } : {}),
      ...(values
        ? { metrics: names.map((name) => ({ name, was: values[0]![name] ?? null, now: values[1]![name] ?? null })) }
        : {})
    }
    return compare
  })

/** The tasks that take one of these ports, or what is made from it, in the order of the plan. */
const downstreamOf = (tasks: ReadonlyArray<Task>, changed: ReadonlySet<string>) => {
  const affected = new Set<string>()
  for (const one of tasks)
    if (sourcesOf(one).some(({ task, port }) => affected.has(task) || changed.has(`${task} ${port}`)))
      affected.add(one.id)
  return [...affected]
}

/**
 * Makes tasks of a run by other settings into RUN/reruns/NAME, a folder like a run's with a run file and a manifest of its own,
 * and compares what came of them with the run's. The run's own tasks stay as they are.
 */
export const makeVariant = Effect.fn("makeVariant")(function* (
  run: OpenRun,
  named: string,
  ids: ReadonlyArray<string>,
  set: ReadonlyArray<Override>,
  tell: (event: RunEvent) => void
) {
  const config = yield* readRunFile(join(run.folder, "run.yaml"), everywhere(run.config, set))
  const tasks = planTasks(run.config)
  const now = new Map(planTasks(config).map((task) => [task.id, task]))
  const variants = yield* Effect.forEach(ids, (id) => variantOf(run, id, tasks, now))
  const name = variantName(named, set)
  const folder = join(run.folder, "reruns", name)
  const out = yield* folderBeside(run)
  const settings = Object.fromEntries(set.map(({ key, value }) => [key, value]))
  const made = new Map<string, TaskRecord>()
  for (const { task, record, steps } of variants) {
    const own = { audit: { tap: [], every: 1 }, train: { checkpointEvery: 0 } }
    const one = yield* makeTask(task, steps, out, own, filesIn(run.folder, run.tasks), tell).pipe(withThreadsOf(record))
    made.set(task.id, { ...one, derivedFrom: { run: relative(folder, run.folder), key: record.key, set: settings } })
  }
  yield* writeWhole(join(out, "run.yaml"), keptRunFile({ ...config, given: { ...config.given, name } }, folder))
  yield* writeManifest(out, made)
  yield* Effect.tryPromise({
    try: async () => {
      await makeFolder(dirname(folder))
      await rm(folder, { recursive: true, force: true })
      await rename(out, folder)
    },
    catch: WriteFailed.of(folder)
  })
  const variant = yield* openRun(folder)
  const outcomes = yield* Effect.forEach(variants, ({ task, changes }) =>
    Effect.gen(function* () {
      const { outputs, seconds } = made.get(task.id)!
      const compared = yield* Effect.forEach(Object.keys(outputs), (port) => outputChange(run, variant, task.id, port))
      return { task: task.id, changes, seconds, outputs: compared } satisfies TaskVariant
    })
  )
  const changed = outcomes.flatMap(({ task, outputs }) =>
    outputs.filter(({ same }) => !same).map(({ port }) => `${task} ${port}`)
  )
  return { folder, tasks: outcomes, downstream: downstreamOf(tasks, new Set(changed)) } satisfies Variant
}, Effect.scoped)
