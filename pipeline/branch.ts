/**
 * A branch of a run: a run of its own that shares what stays the same with the run that it leaves, by hard links, and goes on
 * from a stage of an epoch by other settings.
 */
import { link, rename, rm, stat } from "node:fs/promises"
import { basename, dirname, join, resolve } from "node:path"
import { Effect, Runtime, Schema } from "effect"
import { makeFolder } from "#data/make-folder.ts"
import { WriteFailed } from "#pipeline/arrow-file.ts"
import { branchPoint, inPretraining } from "#pipeline/branch-point.ts"
import { RunListener } from "#pipeline/events.ts"
import {
  canonical,
  type OutputRecord,
  readManifest,
  type TaskRecord,
  writeManifest,
  writeWhole
} from "#pipeline/manifest.ts"
import { adaptations, planTasks } from "#pipeline/plan.ts"
import { keptRunFile, type RunConfig } from "#pipeline/run-file.ts"
import { relocated } from "#pipeline/run-file-layers.ts"
import { lockRun } from "#pipeline/run-lock.ts"
import { type PlannedTask, planRun } from "#pipeline/run-state.ts"
import { runFileOf } from "#pipeline/score.ts"
import { settingsOf, sourcesOf, type Task } from "#pipeline/task-plan.ts"
import { tasksAt } from "#pipeline/task-selection.ts"

/** The branch cannot be made: its point, its settings or its folder do not allow it. */
export class BranchRefused extends Schema.TaggedError<BranchRefused>()("BranchRefused", {
  problem: Schema.String
}) {
  readonly [Runtime.errorExitCode] = 2
  override get message() {
    return this.problem
  }
}

/** A file of the run could not be linked into the branch. */
export class LinkFailed extends Schema.TaggedError<LinkFailed>()("LinkFailed", {
  file: Schema.String,
  link: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `${this.link}: cannot be a hard link to ${this.file}: ${this.problem}. A branch copies nothing: put it where the run lies (--out), on a file system with hard links.`
  }
}

/** A run in its folder, by the run file that it keeps. */
export interface KeptRun {
  readonly folder: string
  readonly config: RunConfig
}

/** The folder of a branch that is not given one: beside the run. */
export const branchFolder = (run: string, from: string) => {
  const whole = resolve(run)
  return join(dirname(run), `${basename(whole)}-from-${from.replaceAll("/", "-").replace("@", "-")}`)
}

/** Settings that act before any point, without the places where data sets lie. */
const settledBefore = ({ data, model, pretrain }: RunConfig, pretraining: boolean) => {
  const place = ({ root: _, ...how }: RunConfig["data"]["target"]) => how
  const { source, target, ...size } = data
  const sets = { ...size, ...(source && { source: place(source) }), target: place(target) }
  return { data: sets, model, ...(pretraining ? {} : { pretrain }) }
}

/** The first key in which two settings differ, by dots. */
const differingKey = (a: unknown, b: unknown, path = ""): string | undefined => {
  if (canonical(a ?? null) === canonical(b ?? null)) return undefined
  if (typeof a !== "object" || typeof b !== "object" || Array.isArray(a) || Array.isArray(b) || !a || !b) return path
  const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])]
  return keys
    .map((key) =>
      differingKey(
        (a as Record<string, unknown>)[key],
        (b as Record<string, unknown>)[key],
        path === "" ? key : `${path}.${key}`
      )
    )
    .find((key) => key !== undefined)
}

/** Teachers cannot cluster at the start of an epoch if the epoch before it has left none. */
const teachersProblem = ({ config: before }: KeptRun, own: RunConfig, from: string, epoch: number) => {
  const were = new Map(adaptations(before))
  const [found] = adaptations(own).filter(
    ([name, { meanTeachers }]) => meanTeachers && were.get(name)?.meanTeachers === false
  )
  return found && from.endsWith(`embed@${epoch}`) && epoch > 1
    ? `${found[0]} has no mean teachers after epoch ${epoch - 1}, so they cannot cluster in epoch ${epoch}: branch from ${from.replace("embed", "cluster")}`
    : undefined
}

/**
 * The settings of a branch that leaves a run at `from` (`cluster@3`): the run's own before it, `own` from there on. Fails
 * where there is no such point, or where a setting is another that acts before it.
 */
export const branchOf = (run: KeptRun, own: RunConfig, from: string, folder: string) =>
  Effect.gen(function* () {
    const refused = (problem: string) => new BranchRefused({ problem: `--from ${from}: ${problem}` })
    const point = branchPoint(from)
    if (point === undefined)
      return yield* refused(
        "expected a stage other than decode and an epoch, as cluster@3, baseline/cluster@3 or pretrain/train-step@5"
      )
    if (resolve(folder) === resolve(run.folder))
      return yield* refused(`a branch has a folder of its own: ${folder} is the run's`)
    const late = differingKey(settledBefore(run.config, inPretraining(point)), settledBefore(own, inPretraining(point)))
    if (late !== undefined) return yield* refused(`key "${late}" acts before that, so it stays as the run has it`)
    const before = relocated(run.config.given, run.config.folder, own.folder)
    const of = run.config.name
    const config: RunConfig = {
      ...{ ...own, name: basename(resolve(folder)) },
      given: { ...own.given, name: basename(resolve(folder)), branch: { of, from, before } },
      branch: { of, from, point, before: run.config }
    }
    const tasks = planTasks(config)
    yield* tasksAt(tasks, point, `--from ${from}`)
    const teachers = teachersProblem(run, own, from, point.epoch)
    if (teachers !== undefined) return yield* refused(teachers)
    return config
  })

/** Tasks that the branch makes by other settings than the run, or from what such tasks make. */
const touchedTasks = (tasks: ReadonlyArray<Task>, were: ReadonlyArray<Task>) => {
  const before = new Map(were.map((task) => [task.id, settingsOf(task)]))
  const touched = new Set<string>()
  for (const task of tasks)
    if (before.get(task.id) !== settingsOf(task) || sourcesOf(task).some((source) => touched.has(source.task)))
      touched.add(task.id)
  return touched
}

/** Makes `to` a hard link to a file, whatever it was. */
const linkFile = (file: string, to: string) =>
  Effect.tryPromise({
    try: async () => {
      const [own, there] = await Promise.all([stat(file), stat(to).catch(() => undefined)])
      if (there && own.dev === there.dev && own.ino === there.ino) return
      await makeFolder(dirname(to))
      const partial = `${to}.${process.pid}.partial`
      await rm(partial, { force: true })
      await link(file, partial)
      await rename(partial, to)
    },
    catch: (cause) => {
      const { code, message } = cause as NodeJS.ErrnoException
      const problem = code === "EXDEV" ? "they are on two file systems" : message
      return new LinkFailed({ file, link: to, problem })
    }
  })

const pathsOf = (outputs: Readonly<Record<string, OutputRecord>>) =>
  Object.values(outputs).flatMap(({ files }) => files.map(({ path }) => path))

/** Links the files of a task; what the tap kept of it comes along if it is all there still. */
const share = (run: string, record: TaskRecord, folder: string) =>
  Effect.gen(function* () {
    const { taps, ...shared } = record
    for (const path of pathsOf(record.outputs)) yield* linkFile(join(run, path), join(folder, path))
    const linked = Effect.forEach(pathsOf(taps ?? {}), (path) => linkFile(join(run, path), join(folder, path)))
    const tapped = yield* Effect.isSuccess(linked)
    return taps && tapped ? { ...shared, taps } : shared
  })

/** What a folder holds of a branch with the same point and past; an error where it holds another run. */
const checkFolder = (config: RunConfig, folder: string) =>
  Effect.gen(function* () {
    const found = yield* Effect.promise(() => stat(join(folder, "run.yaml")).catch(() => undefined))
    if (found === undefined) return
    const kept = yield* runFileOf(folder)
    const past = ({ branch }: RunConfig) =>
      branch && canonical([branch.from, relocated(branch.before.given, branch.before.folder, folder)])
    if (past(kept) !== past(config))
      return yield* new BranchRefused({
        problem: `${folder}: holds another run; choose another folder for the branch (--out)`
      })
  })

/** How much of a run a branch shares. */
export interface Sharing {
  readonly shared: number
  readonly tasks: number
}

/**
 * Makes a branch's folder, or goes on with one: links into it what the run has done that the branch's settings leave as it is, but
 * the tasks at the point itself, and records it. What is there already stays. Fails where a process runs in the folder.
 */
export const openBranch = Effect.fn("openBranch")(function* (run: KeptRun, config: RunConfig, folder: string) {
  yield* checkFolder(config, folder)
  const tasks = planTasks(config)
  const { point, from } = config.branch!
  const touched = touchedTasks(tasks, planTasks(run.config))
  const anew = new Set((yield* tasksAt(tasks, point, from)).map(({ id }) => id))
  const isKept = ({ task: { id }, state }: PlannedTask) => state.state === "done" && !touched.has(id) && !anew.has(id)
  const kept = (yield* planRun(run.config, run.folder)).filter(isKept).map(({ task }) => task.id)
  yield* Effect.tryPromise({ try: () => makeFolder(folder), catch: WriteFailed.of(folder) })
  const listener = yield* RunListener
  yield* lockRun(folder, (text) => listener({ type: "notice", text }))
  const [manifest, records] = [yield* readManifest(folder), yield* readManifest(run.folder)]
  const own = new Set(tasks.map(({ id }) => id))
  const shared = kept.filter((id) => own.has(id) && !manifest.has(id))
  for (const id of shared) manifest.set(id, yield* share(run.folder, records.get(id)!, folder))
  if (shared.length > 0) {
    yield* writeWhole(join(folder, "run.yaml"), keptRunFile(config, folder))
    yield* writeManifest(folder, manifest)
  }
  return { shared: shared.length, tasks: tasks.length } satisfies Sharing
}, Effect.scoped)
