/** The lock of a run's folder: one process at a time runs there. */
import { link, readFile, rename, rm, writeFile } from "node:fs/promises"
import { hostname } from "node:os"
import { join } from "node:path"
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
  host === hostname() && (!isAlive(pid) || (pid !== process.pid && started !== (await startOf(pid))))

const decodeHolder = Schema.decodeUnknownOption(Schema.fromJsonString(Holder))

/** Whether a process runs in a run's folder, or may do so on another machine. */
export const isLocked = (folder: string): Effect.Effect<boolean> =>
  Effect.promise(async () => {
    const holder = Option.getOrUndefined(decodeHolder(await readFile(lockFile(folder), "utf8").catch(() => "")))
    return holder !== undefined && !(await isGone(holder))
  })

/** Puts a lock in place whole, or gives what is in its place already. */
const place = async (lock: string, text: string): Promise<string | undefined> => {
  const own = `${lock}.${process.pid}.partial`
  await writeFile(own, text)
  try {
    await link(own, lock)
    return undefined
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw cause
    return await readFile(lock, "utf8").catch(() => "")
  } finally {
    await rm(own, { force: true })
  }
}

/** Moves a stale lock out of the way. Another process may have done so and hold a new one by now: that one is put back. */
const removeStale = async (lock: string, stale: string): Promise<void> => {
  const aside = `${lock}.stale.${process.pid}.partial`
  await rename(lock, aside).catch(() => {})
  const moved = await readFile(aside, "utf8").catch(() => stale)
  if (moved !== stale) await link(aside, lock).catch(() => {})
  await rm(aside, { force: true })
}

export const lockFile = (folder: string) => join(folder, "lock.json")

/**
 * Takes the lock of a run's folder, which must exist, until the scope closes. A lock whose process is gone (killed, or of before a
 * restart) is taken over, and `tell` is told so. Fails with `RunLocked` where its process runs, or is on another machine.
 */
export const lockRun = (folder: string, tell: (notice: string) => void) => {
  const lock = lockFile(folder)
  const take = async () => {
    const since = new Date().toISOString()
    const own: Holder = { pid: process.pid, host: hostname(), started: await startOf(process.pid), since }
    const text = `${JSON.stringify(own)}\n`
    for (;;) {
      const found = await place(lock, text)
      if (found === undefined) return text
      const holder = Option.getOrUndefined(decodeHolder(found))
      // What is no lock of ours was cut off by a crash of the machine.
      if (holder && !(await isGone(holder))) {
        const { pid, host, since } = holder
        throw new RunLocked({ folder, lock, pid, host, since, seen: host === hostname() })
      }
      const whose = holder ? `process ${holder.pid}, which is gone,` : "a process that was cut off,"
      tell(`${folder}: the lock of ${whose} is taken over`)
      await removeStale(lock, found)
    }
  }
  const release = async (text: string) => {
    if ((await readFile(lock, "utf8").catch(() => "")) === text) await rm(lock, { force: true })
  }
  return Effect.acquireRelease(
    Effect.tryPromise({
      try: take,
      catch: (cause) => (cause instanceof RunLocked ? cause : WriteFailed.of(lock)(cause))
    }),
    (text) => Effect.promise(() => release(text).catch(() => {}))
  )
}
