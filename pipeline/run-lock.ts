/** The lock of a run's folder: one process at a time runs there. */
import { randomUUID } from "node:crypto"
import { readdir, readFile, rename, rm, writeFile } from "node:fs/promises"
import { hostname } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { Effect, Option, Schema } from "effect"
import { WriteFailed } from "#pipeline/arrow-file.ts"

/** Who holds a lock. */
const Holder = Schema.Struct({
  pid: Schema.Int,
  host: Schema.String,
  /** Tells the process from a later one of the same number: the boot, and the time since then. Empty where that is not to be had. */
  started: Schema.String,
  /** When it took the lock. */
  since: Schema.String
})
type Holder = typeof Holder.Type

/** Another process runs in this folder, or may do so. */
export class RunLocked extends Schema.TaggedError<RunLocked>()("RunLocked", {
  folder: Schema.String,
  lock: Schema.String,
  pid: Schema.Int,
  host: Schema.String,
  since: Schema.String,
  /** Whether the process was seen; on another machine it cannot be. */
  seen: Schema.Boolean
}) {
  override get message() {
    const held = `${this.folder}: process ${this.pid} on ${this.host} runs here since ${this.since}`
    return this.seen
      ? `${held}; wait for its end, or choose another folder with --out`
      : `${held}, as ${this.lock} says, which cannot be seen from this machine; if it is gone, remove that file`
  }
}

/** Boot and start of a process, from Linux's /proc; the name in its stat line may hold anything, so fields count from its end. */
const startOf = async (pid: number): Promise<string> => {
  try {
    const [boot, line] = await Promise.all([
      readFile("/proc/sys/kernel/random/boot_id", "utf8"),
      readFile(`/proc/${pid}/stat`, "utf8")
    ])
    return `${boot.trim()} ${line.slice(line.lastIndexOf(")") + 2).split(" ")[19]}`
  } catch {
    return ""
  }
}

/** Whether there is a process of this number on this machine. */
export const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === "EPERM"
  }
}

const isGone = async ({ pid, host, started }: Holder): Promise<boolean> =>
  host === hostname() && (!isAlive(pid) || (started !== "" && started !== (await startOf(pid))))

const decodeHolder = Schema.decodeUnknownOption(Schema.fromJsonString(Holder))

/** Names of locks: one of its own for each process that wants to run, so that nobody ever removes another's by mistake. */
const isLock = (name: string) => /^lock\.[0-9a-f-]+\.json$/.test(name)

/** The locks of a folder; a link is none. */
export const locksIn = async (folder: string): Promise<ReadonlyArray<string>> =>
  (await readdir(folder, { withFileTypes: true }))
    .filter((entry) => entry.isFile() && isLock(entry.name))
    .map(({ name }) => join(folder, name))

/** Whether a process runs in a run's folder, or may do so on another machine. */
export const isLocked = (folder: string): Effect.Effect<boolean> =>
  Effect.promise(async () => {
    for (const lock of await locksIn(folder).catch(() => [])) {
      const holder = Option.getOrUndefined(decodeHolder(await readFile(lock, "utf8").catch(() => "")))
      if (holder && !(await isGone(holder))) return true
    }
    return false
  })

/** Tries of two processes that started at once and gave way to each other, and the milliseconds between them. */
const tries = { most: 5, apart: 100 }

/**
 * Takes the lock of a run's folder, which must exist, until the scope closes. A lock whose process is gone (killed, or of before a
 * restart) is removed, and `tell` is told so. Fails with `RunLocked` where its process runs, or is on another machine.
 *
 * A process puts its lock there first and looks for others then; who finds another that may live takes the own one back. So of
 * two that start at once both may give way, and try again, but never do both go on.
 */
export const lockRun = (folder: string, tell: (notice: string) => void) => {
  const own = join(folder, `lock.${randomUUID()}.json`)
  const place = async () => {
    const holder: Holder = {
      pid: process.pid,
      host: hostname(),
      started: await startOf(process.pid),
      since: new Date().toISOString()
    }
    const partial = `${own}.${process.pid}.partial`
    await writeFile(partial, `${JSON.stringify(holder)}\n`)
    await rename(partial, own)
  }
  /** The first lock of another process that may live; those of processes that are gone are removed. */
  const otherHolder = async (): Promise<RunLocked | undefined> => {
    for (const lock of await locksIn(folder)) {
      if (lock === own) continue
      const text = await readFile(lock, "utf8").catch(() => undefined)
      if (text === undefined) continue
      // What is no lock of ours was cut off by a crash of the machine: a lock comes into place whole.
      const holder = Option.getOrUndefined(decodeHolder(text))
      if (holder && !(await isGone(holder))) {
        const { pid, host, since } = holder
        return new RunLocked({ folder, lock, pid, host, since, seen: host === hostname() })
      }
      await rm(lock, { force: true })
      const whose = holder ? `process ${holder.pid}, which is gone,` : "a process that was cut off"
      tell(`${folder}: the lock of ${whose} is taken over`)
    }
    return undefined
  }
  const take = async () => {
    for (let count = 1; ; count++) {
      await place()
      const other = await otherHolder()
      if (other === undefined) return
      await rm(own, { force: true })
      if (count === tries.most || !other.seen) throw other
      await sleep(tries.apart * Math.random())
    }
  }
  const release = Effect.promise(() => rm(own, { force: true }).catch(() => {}))
  return Effect.acquireRelease(
    Effect.tryPromise({
      try: take,
      catch: (cause) => (cause instanceof RunLocked ? cause : WriteFailed.of(own)(cause))
    }).pipe(Effect.onError(() => release)),
    () => release
  )
}
