/** A task of a run done again from what is recorded of it, and held against what the run has. */
import { mkdtemp, rm } from "node:fs/promises"
import { join, resolve } from "node:path"
import { Effect, Schema, Stream } from "effect"
import { type FileDifference, fileDifference } from "#audit/file-difference.ts"
import { inputFiles, type OpenRun, placeOf } from "#audit/open-run.ts"
import { tensorflowVersion } from "#engine/layout.ts"
import { EngineThreads } from "#engine/session.ts"
import { readBatches, WriteFailed } from "#pipeline/arrow-file.ts"
import type { RunEvent } from "#pipeline/events.ts"
import { type ArtifactFile, fileProblem, type OutputRecord, type TaskRecord } from "#pipeline/manifest.ts"
import { planTasks } from "#pipeline/plan.ts"
import { type InputFiles, makeTask } from "#pipeline/run.ts"
import type { Audit } from "#pipeline/run-keys.ts"
import { type StageName, stageOf, stages } from "#pipeline/stages.ts"
import { stepRecords } from "#pipeline/state.ts"
import type { Step, Task } from "#pipeline/task-plan.ts"
import { artifacts } from "#schemas/artifacts.ts"
import { batches } from "#schemas/batches.ts"
import { checkpoint } from "#schemas/checkpoint.ts"

/** The task cannot be done again: something that it was made from is not there any more. */
export class RerunImpossible extends Schema.TaggedError<RerunImpossible>()("RerunImpossible", {
  folder: Schema.String,
  task: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `${this.folder}: ${this.task} cannot be run again: ${this.problem}`
  }
}

/** One file of the run beside the one that was made now. */
export interface FileComparison {
  readonly path: string
  readonly rows: number
  readonly sha256: string
  /** Of the file made now; null where none was. */
  readonly now: string | null
  readonly same: boolean
  /** What is to be known of the run's own file, if it is not what was written. */
  readonly problem?: string
  readonly difference?: FileDifference
}

export interface Rerun {
  readonly task: string
  readonly reproduced: boolean
  readonly seconds: number
  readonly files: ReadonlyArray<FileComparison>
  /** Why the bytes may differ: another version of a stage, changed inputs. */
  readonly notes: ReadonlyArray<string>
}

const taskOf = (run: OpenRun, id: string) => planTasks(run.config).find((task) => task.id === id)

/** A task as it is recorded: its parameters, and of each input the files that have the recorded digests. */
const recordedTask = (run: OpenRun, id: string, record: TaskRecord) => {
  const planned = taskOf(run, id)
  const impossible = (problem: string) => new RerunImpossible({ folder: run.folder, task: id, problem })
  const stepOf = (step: TaskRecord["steps"][number], index: number) =>
    Effect.gen(function* () {
      if (!(step.stage in stages)) return yield* impossible(`there is no stage ${step.stage} here`)
      const stage = step.stage as StageName
      const local = planned?.steps[index]?.local ?? {}
      if (stage === "decode" && local.root === undefined)
        return yield* impossible("it is not of the run's run.yaml, which says where its images lie")
      const params = Schema.decodeUnknownEffect(stageOf(stage).params)({ ...step.params, ...local })
      yield* Effect.mapError(params, ({ message }) => impossible(`its parameters: ${message.replaceAll("\n", " ")}`))
      const inputs: Record<string, ReadonlyArray<{ readonly task: string; readonly port: string }>> = {}
      for (const port of Object.keys(stageOf(stage).inputs)) {
        const digests = step.inputs[port]
        if (digests === undefined) continue
        for (const digest of digests) {
          const [file] = inputFiles(run, [digest])
          if (!file) return yield* impossible(`nothing in the run has its input ${port} any more (sha256 ${digest})`)
          const problem = yield* Effect.promise(() => fileProblem(run.folder, file))
          if (problem !== undefined) return yield* impossible(`its input ${port}: ${problem}`)
        }
        inputs[port] = inputFiles(run, digests).map((file) => ({ task: file.sha256, port }))
      }
      return { stage, params: step.params, local, inputs } satisfies Step
    })
  return Effect.map(
    Effect.forEach(record.steps, stepOf),
    (steps): Task => ({ id, phase: planned?.phase ?? id.split("/")[0]!, steps })
  )
}

/** The file of a digest, whatever port it comes from. */
const byDigest =
  (run: OpenRun): InputFiles =>
  (digest) =>
    inputFiles(run, [digest]).map((file) => ({ file: placeOf(run, file), rows: file.rows }))

/** Runs with the numbers of threads with which a task was made: rounding goes by them. */
export const withThreadsOf = ({ engine }: TaskRecord) => {
  const [, intraOpThreads, interOpThreads] = /threads an op: (\d+), ops at a time: (\d+)/.exec(engine) ?? []
  return <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    intraOpThreads === undefined
      ? effect
      : Effect.provideService(effect, EngineThreads, {
          intraOpThreads: Number(intraOpThreads),
          interOpThreads: Number(interOpThreads)
        })
}

/** The tap as it was set: what it kept, of each so many iterations. */
const tapOf = (run: OpenRun, { taps = {} }: TaskRecord) =>
  Effect.gen(function* () {
    const [file] = taps.batches?.files ?? taps.networks?.files ?? []
    if (file === undefined) return { tap: [], every: 1 } satisfies Audit
    const artifact = taps.batches ? batches : checkpoint
    const kept = yield* Stream.runCollect(
      Stream.map(readBatches(artifact, placeOf(run, file)), ({ metadata }) => Number(metadata.get("iteration")))
    )
    const [every] = kept.filter((iteration) => iteration > 0)
    const tap = [...(taps.batches ? ["augment" as const] : []), ...(taps.networks ? ["train-step" as const] : [])]
    return { tap, every: every ?? Number.MAX_SAFE_INTEGER } satisfies Audit
  })

/** Why the bytes of a task may differ, beside what is recorded of it. */
const notesOn = (run: OpenRun, id: string, { steps, engine }: TaskRecord) =>
  Effect.gen(function* () {
    const versions = steps.flatMap(({ stage, version }) => {
      const own = stageOf(stage as StageName).version
      return version === own ? [] : [`made by version ${version} of stage ${stage}, which is at version ${own}`]
    })
    const other = engine.startsWith(`tensorflow ${tensorflowVersion},`)
      ? []
      : [`made with ${engine.split(",")[0]}, which is ${tensorflowVersion} here`]
    const planned = taskOf(run, id)
    const now = planned ? yield* stepRecords(planned, () => []) : []
    const outer = now.flatMap(({ stage, inputs }, i) =>
      (["dataset", "weights"] as const)
        .filter((port) => inputs[port] && String(inputs[port]) !== String(steps[i]?.inputs[port]))
        .map((port) =>
          port === "dataset"
            ? "names, sizes or times of change of the data set's images are others now"
            : `the weights that ${stage} starts from are others now`
        )
    )
    return [...versions, ...other, ...outer]
  })

const artifactOf = (name: string) => artifacts.find((artifact) => artifact.name === name)

const compareFile = (run: OpenRun, out: string, output: OutputRecord, file: ArtifactFile, now?: ArtifactFile) =>
  Effect.gen(function* () {
    const { path, rows, sha256 } = file
    const same = now?.sha256 === sha256
    const compared: FileComparison = { path, rows, sha256, now: now?.sha256 ?? null, same }
    const problem = yield* Effect.promise(() =>
      fileProblem(run.folder, same ? file : { ...file, modified: Number.NaN })
    )
    if (problem !== undefined) return { ...compared, problem }
    const artifact = artifactOf(output.artifact)
    if (same || !now || !artifact) return compared
    const difference = yield* fileDifference(artifact, placeOf(run, file), join(out, now.path))
    return { ...compared, difference }
  })

const compareOutputs = (run: OpenRun, out: string, was: TaskRecord["outputs"], now: TaskRecord["outputs"]) =>
  Effect.forEach(
    Object.entries(was).flatMap(([port, output]) => output.files.map((file, i) => ({ port, output, file, i }))),
    ({ port, output, file, i }) => compareFile(run, out, output, file, now[port]?.files[i])
  )

/** What the tap kept may have been removed since, which is no difference. */
const tapsThatAreThere = (run: OpenRun, { taps = {} }: TaskRecord) =>
  Effect.map(
    Effect.forEach(Object.entries(taps), ([kind, output]) =>
      Effect.promise(async () => {
        const problems = await Promise.all(output.files.map((file) => fileProblem(run.folder, file)))
        return problems.some((problem) => problem?.endsWith("is missing")) ? [] : [[kind, output] as const]
      })
    ),
    (found) => Object.fromEntries(found.flat())
  )

/** A folder beside the run, which is gone when its scope is. */
export const folderBeside = (run: OpenRun) =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: () => mkdtemp(`${resolve(run.folder)}.rerun-`),
      catch: WriteFailed.of(`${run.folder}.rerun-…`)
    }),
    (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
  )

/**
 * Makes a task again from the files, parameters and numbers of threads that are recorded of it, in a folder beside the run
 * that is gone afterwards, and compares what came of it with what is recorded. The run stays as it is.
 */
export const rerunTask = Effect.fn("rerunTask")(function* (run: OpenRun, id: string, tell: (event: RunEvent) => void) {
  const record = run.tasks.get(id)
  if (record === undefined)
    return yield* new RerunImpossible({ folder: run.folder, task: id, problem: "it is not done yet" })
  const task = yield* recordedTask(run, id, record)
  const notes = yield* notesOn(run, id, record)
  const taps = yield* tapsThatAreThere(run, record)
  const audit = yield* tapOf(run, { ...record, taps })
  const out = yield* folderBeside(run)
  const made = yield* makeTask(
    task,
    record.steps,
    out,
    { audit, train: { checkpointEvery: 0 } },
    byDigest(run),
    tell
  ).pipe(withThreadsOf(record))
  const files = [
    ...(yield* compareOutputs(run, out, record.outputs, made.outputs)),
    ...(yield* compareOutputs(run, out, taps, made.taps ?? {}))
  ]
  const reproduced = files.every(({ same }) => same)
  return { task: id, reproduced, seconds: made.seconds, files, notes } satisfies Rerun
}, Effect.scoped)
