/** The runs below a folder: those alone are served, by the names that are found here; no path is made of what is asked for. */
import { lstat, readdir, readFile, realpath } from "node:fs/promises"
import { basename, join, relative, sep } from "node:path"
import { Effect, Schema } from "effect"
import { parse } from "yaml"
import type { TaskRecord } from "#pipeline/manifest.ts"

export interface RunFolder {
  /** Its path from the folder of runs; of a run that is served alone its own name. */
  readonly id: string
  readonly folder: string
}

/** The folder of runs is not there. */
export class NoFolder extends Schema.TaggedError<NoFolder>()("NoFolder", { folder: Schema.String }) {
  override get message() {
    return `${this.folder}: there is no such folder; give the folder of the runs, or that of one run`
  }
}

/** What a run's folder names lies outside of it, or is a link. */
export class OutsideRun extends Schema.TaggedError<OutsideRun>()("OutsideRun", {
  folder: Schema.String,
  path: Schema.String
}) {
  override get message() {
    return `${this.folder}: ${this.path} is a link or leads out of the run's folder; only what lies in it is shown`
  }
}

/** Folders of runs may hold folders of runs: runs/ablation/NAME/seed-1. */
const mostLevels = 3

const isFile = async (path: string) => (await lstat(path).catch(() => undefined))?.isFile() === true

const search = async (root: string, folder: string, levels: number): Promise<ReadonlyArray<RunFolder>> => {
  if (await isFile(join(folder, "run.yaml"))) return [{ id: relative(root, folder) || basename(root), folder }]
  if (levels === 0) return []
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
  // A link is no directory here, so none is followed.
  const inner = entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith("."))
  const found = await Promise.all(inner.map(({ name }) => search(root, join(folder, name), levels - 1)))
  return found.flat()
}

/** The folder itself where it is a run, else the runs below it, by name. Links are not followed. */
export const runFolders = (given: string): Effect.Effect<ReadonlyArray<RunFolder>, NoFolder> =>
  Effect.tryPromise({
    try: async () => {
      const root = await realpath(given)
      if (!(await lstat(root)).isDirectory()) throw new NoFolder({ folder: given })
      return (await search(root, root, mostLevels)).toSorted((a, b) =>
        a.id.localeCompare(b.id, "en", { numeric: true })
      )
    },
    catch: () => new NoFolder({ folder: given })
  })

/** Whether a folder is itself a run. */
export const isRun = (folder: string) => Effect.promise(() => isFile(join(folder, "run.yaml")))

/** Files of a run that are read beside its artifacts. */
const ownFiles = ["run.yaml", "manifest.json", "events.jsonl", "progress.json", "audit.json"]

/** Run files that were found to be whole, by path; a state of one that is known is not read again. */
const wholeRunFiles = new Map<string, string>()

/** Fails where a run's own files are links, or its run file takes in others: one that a run keeps is whole. */
export const checkOwnFiles = (folder: string): Effect.Effect<void, OutsideRun> =>
  Effect.tryPromise({
    try: async () => {
      const found = await Promise.all(ownFiles.map((path) => lstat(join(folder, path)).catch(() => undefined)))
      const foreign = found.findIndex((file) => file?.isFile() === false)
      if (foreign >= 0) throw ownFiles[foreign]
      const runFile = join(folder, "run.yaml")
      const { ino, size, ctimeMs } = found[ownFiles.indexOf("run.yaml")] ?? {}
      const state = `${ino} ${size} ${ctimeMs}`
      if (wholeRunFiles.get(runFile) === state) return
      const text = await readFile(runFile, "utf8").catch(() => "")
      if (Object.hasOwn(Object(parse(text, { logLevel: "silent" }) as unknown), "extends")) throw "run.yaml"
      wholeRunFiles.set(runFile, state)
    },
    catch: (cause) => new OutsideRun({ folder, path: typeof cause === "string" ? cause : "run.yaml" })
  })

/** Fails where a recorded file lies outside the run's folder. Those of digests that are known already are not looked at again. */
export const checkRecordedFiles = (
  folder: string,
  records: ReadonlyMap<string, TaskRecord>,
  known: Set<string>
): Effect.Effect<void, OutsideRun> =>
  Effect.tryPromise({
    try: async () => {
      const home = await realpath(folder)
      for (const { outputs } of records.values())
        for (const { path, sha256 } of Object.values(outputs).flatMap(({ files }) => files)) {
          const key = `${path} ${sha256}`
          if (known.has(key)) continue
          const place = join(home, path)
          const real = await realpath(place).catch(() => place)
          if (real !== place || !place.startsWith(home + sep)) throw path
          known.add(key)
        }
    },
    catch: (cause) => new OutsideRun({ folder, path: String(cause) })
  })
