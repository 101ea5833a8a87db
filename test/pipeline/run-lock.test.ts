/** The lock of a run's folder: held by one process, taken over from one that is gone, never from one that may live. */
import { spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { hostname, tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Exit } from "effect"
import { afterEach, beforeEach, expect, it } from "vitest"
import { lockRun, locksIn } from "#pipeline/run-lock.ts"

let folder: string
let notices: Array<string>
const lock = () => join(folder, "lock.0-1.json")

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mmt-lock-"))
  notices = []
})

afterEach(() => rmSync(folder, { recursive: true, force: true }))

const locked = <A>(inside: Effect.Effect<A>) =>
  Effect.runPromiseExit(
    Effect.scoped(
      Effect.andThen(
        lockRun(folder, (notice) => void notices.push(notice)),
        () => inside
      )
    )
  )

const problemOf = (exit: Exit.Exit<unknown, Error>) =>
  Exit.isFailure(exit)
    ? String(exit.cause.reasons.map((reason) => ("error" in reason ? reason.error.message : "")))
    : ""

const holder = (fields: object) =>
  writeFileSync(lock(), JSON.stringify({ pid: 1, host: hostname(), started: "", since: "then", ...fields }))

const goneProcess = () => spawnSync(process.execPath, ["--version"]).pid

it("is there while the scope is open, says who holds it, and is gone afterwards", async () => {
  const inside = Effect.promise(async () => JSON.parse(readFileSync((await locksIn(folder))[0]!, "utf8")) as object)
  const exit = await locked(inside)
  expect(exit).toMatchObject({ value: { pid: process.pid, host: hostname() } })
  expect(readdirSync(folder)).toEqual([])
  expect(notices).toEqual([])
})

it("refuses a second holder, in the same process too, and leaves the first one's lock", async () => {
  const exit = await locked(Effect.promise(() => locked(Effect.void)))
  expect(problemOf(Exit.isSuccess(exit) ? exit.value : exit)).toMatch(/runs here since .* wait for its end, or choose/)
  expect(readdirSync(folder)).toEqual([])
})

it("takes over from a process that is gone, and says so", async () => {
  const pid = goneProcess()
  holder({ pid })
  expect(Exit.isSuccess(await locked(Effect.void))).toBe(true)
  expect(notices).toEqual([`${folder}: the lock of process ${pid}, which is gone, is taken over`])
  expect(readdirSync(folder)).toEqual([])
})

it.runIf(existsSync("/proc/self/stat"))("takes over where another process has the number by now", async () => {
  holder({ pid: process.ppid, started: "another boot 1" })
  expect(Exit.isSuccess(await locked(Effect.void))).toBe(true)
})

it("takes over a lock that a crash has cut off", async () => {
  writeFileSync(lock(), '{"pid": 1')
  expect(Exit.isSuccess(await locked(Effect.void))).toBe(true)
  expect(notices[0]).toContain("a process that was cut off")
})

it("never takes over from another machine, and says which file to remove", async () => {
  holder({ pid: goneProcess(), host: "elsewhere" })
  const exit = await locked(Effect.void)
  expect(problemOf(exit)).toContain(`if it is gone, remove that file`)
  expect(problemOf(exit)).toContain(lock())
  expect(existsSync(lock())).toBe(true)
})

it("of many who find a stale lock at once, one gets it", async () => {
  holder({ pid: goneProcess() })
  let [now, most, had] = [0, 0, 0]
  const inside = Effect.gen(function* () {
    most = Math.max(most, ++now)
    had++
    yield* Effect.sleep("20 millis")
    now--
  })
  await Promise.all(Array.from({ length: 8 }, () => locked(inside)))
  expect(most).toBe(1)
  expect(had).toBeGreaterThan(0)
  expect(readdirSync(folder)).toEqual([])
})
