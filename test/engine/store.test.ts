/** Folders that are whole or not there. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync
} from "node:fs"
import { hostname, tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Deferred, Effect } from "effect"
import { afterEach, beforeEach, expect, it } from "vitest"
import { createWhole, isWhole, sweep } from "#engine/store.ts"

let cache: string
beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), "mmt-store-"))
})
afterEach(() => rmSync(cache, { recursive: true }))

const run = <A, E>(effect: Effect.Effect<A, E, NodeServices.NodeServices>) =>
  Effect.runPromise(effect.pipe(Effect.provide(NodeServices.layer)))

const fill = (text: string) => (folder: string) =>
  Effect.sync(() => {
    mkdirSync(join(folder, "lib"))
    writeFileSync(join(folder, "lib", "a.so"), text)
  })

it("makes a folder with a manifest of its files", async () => {
  const folder = join(cache, "made")
  await run(createWhole(folder, false, fill("four")))
  expect(JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8"))).toEqual({ files: { "lib/a.so": 4 } })
  expect(await run(isWhole(folder))).toBe(true)
  expect(readdirSync(cache)).toEqual(["made"])
})

it("takes a folder with a shortened or missing file, or without a manifest, for damaged and replaces it", async () => {
  const folder = join(cache, "made")
  for (const damage of [
    () => truncateSync(join(folder, "lib", "a.so"), 1),
    () => rmSync(join(folder, "lib"), { recursive: true }),
    () => rmSync(join(folder, "manifest.json"))
  ]) {
    await run(createWhole(folder, false, fill("four")))
    damage()
    expect(await run(isWhole(folder))).toBe(false)
    await run(createWhole(folder, false, fill("fresh")))
    expect(await run(isWhole(folder))).toBe(true)
    rmSync(folder, { recursive: true })
  }
  expect(readdirSync(cache)).toEqual([])
})

it("keeps the folder of the process that was faster, unless it is to be replaced", async () => {
  const folder = join(cache, "made")
  const both = Effect.gen(function* () {
    const begun = yield* Deferred.make<void>()
    const slow = createWhole(folder, false, (path) => Effect.andThen(Deferred.await(begun), fill("slow")(path)))
    const fast = Effect.andThen(createWhole(folder, false, fill("fast")), Deferred.succeed(begun, undefined))
    yield* Effect.all([slow, fast], { concurrency: 2 })
  })
  await run(both)
  expect(readFileSync(join(folder, "lib", "a.so"), "utf8")).toBe("fast")
  await run(createWhole(folder, true, fill("new")))
  expect(readFileSync(join(folder, "lib", "a.so"), "utf8")).toBe("new")
  expect(readdirSync(cache)).toEqual(["made"])
})

it("leaves nothing where filling fails", async () => {
  const failing = createWhole(join(cache, "made"), false, (path) => Effect.andThen(fill("x")(path), Effect.fail("no")))
  expect(await run(Effect.flip(failing))).toBe("no")
  expect(readdirSync(cache)).toEqual([])
})

it("sweeps what killed processes left, and nothing else", async () => {
  const partial = (id: number | string, host = hostname()) => join(cache, `partial-${host}-${id}-x`)
  // No process has this id: it is above the largest that Linux gives.
  const [dead, alive, foreign] = [partial(2 ** 22 + 1), partial(process.pid), partial(2 ** 22 + 1, "another-machine")]
  for (const folder of [dead, alive, foreign, join(cache, "made")]) mkdirSync(folder)
  await run(sweep(cache))
  expect([dead, alive, foreign, join(cache, "made")].map((folder) => existsSync(folder))).toEqual([
    false,
    true,
    true,
    true
  ])
})
