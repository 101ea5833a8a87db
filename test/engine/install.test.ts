/** Setting up the engine: what is whole stays, and each failure says what is missing. No network: pip and g++ are stand-ins. */
import { chmodSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Effect } from "effect"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { type InstallOptions, type InstallProgress, installEngine } from "#engine/install.ts"
import { addonFolder, bindingLink, cacheFolder, libraryFolder } from "#engine/layout.ts"
import { locateEngine } from "#engine/tensorflow.ts"

let folder: string
let options: Required<Pick<InstallOptions, "cache" | "link">>

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mmt-install-"))
  options = { cache: join(folder, "cache"), link: join(folder, "clone", "tfjs_binding.node") }
  mkdirSync(join(folder, "bin"))
  vi.stubEnv("PATH", join(folder, "bin"))
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true })
})

/** Puts a stand-in for a tool on the PATH: a shell script, which can use the shell's own commands alone. */
function tool(name: "g++" | "python3", script: string) {
  writeFileSync(join(folder, "bin", name), `#!/bin/sh\n${script}\n`)
  chmodSync(join(folder, "bin", name), 0o755)
}

const compiles = 'while [ "$#" -gt 0 ]; do [ "$1" = -o ] && echo compiled > "$2"; shift; done; exit 0'
const pip = (download: string) =>
  `[ "$3" = --version ] && exit 0\nwhile [ "$1" != --dest ]; do shift; done\n${download}`

const install = (more: InstallOptions = {}) =>
  Effect.runPromise(installEngine({ ...options, ...more }).pipe(Effect.provide(NodeServices.layer)))

const failure = (more: InstallOptions = {}) =>
  Effect.runPromise(Effect.flip(installEngine({ ...options, ...more })).pipe(Effect.provide(NodeServices.layer)))

/** A cache with libraries (none in fact), so that only the addon is to be made. */
function withLibraries(flavour: "cpu" | "cuda" = "cpu") {
  mkdirSync(libraryFolder(flavour, options.cache), { recursive: true })
  writeFileSync(join(libraryFolder(flavour, options.cache), "manifest.json"), '{"files":{}}')
}

describe("the engine that the tests run on", () => {
  it("is left alone by a second installation, within moments", async () => {
    const { addons } = Effect.runSync(locateEngine())
    const before = [bindingLink, addons, join(addons, "tfjs_binding.node")].map((path) => lstatSync(path).mtimeMs)
    const start = performance.now()
    const { state } = await Effect.runPromise(installEngine().pipe(Effect.provide(NodeServices.layer)))
    expect(state).toBe("unchanged")
    expect(performance.now() - start).toBeLessThan(1000)
    expect([bindingLink, addons, join(addons, "tfjs_binding.node")].map((path) => lstatSync(path).mtimeMs)).toEqual(
      before
    )
  })
})

describe("installEngine", () => {
  it("compiles the addon once, links each clone, and then does nothing", async () => {
    withLibraries()
    tool("g++", compiles)
    tool("python3", "exit 0")
    const seen: Array<InstallProgress["task"]> = []
    const first = await install({ onProgress: ({ task }) => seen.push(task) })
    expect(first).toEqual({ flavour: "cpu", folder: libraryFolder("cpu", options.cache), state: "fresh" })
    expect(seen).toEqual(["compile"])
    const target = join(addonFolder("cpu", options.cache), "tfjs_binding.node")
    expect(readlinkSync(options.link)).toBe(target)
    rmSync(join(folder, "bin", "g++"))
    expect((await install()).state).toBe("unchanged")
    const other = join(folder, "other-clone", "tfjs_binding.node")
    expect((await install({ link: other })).state).toBe("linked")
    expect(readlinkSync(other)).toBe(target)
  })

  it("keeps the flavour that a clone has, until it is told another", async () => {
    withLibraries("cpu")
    withLibraries("cuda")
    tool("g++", compiles)
    tool("python3", "exit 0")
    expect((await install({ cuda: true })).flavour).toBe("cuda")
    expect(await install()).toMatchObject({ flavour: "cuda", state: "unchanged" })
    expect(await install({ cuda: false })).toMatchObject({ flavour: "cpu", state: "fresh" })
  })

  it("asks for g++, python3 or pip before it downloads anything", async () => {
    expect((await failure()).message).toMatch(/^`g\+\+` is not on the PATH.*`sudo apt-get install g\+\+`/)
    tool("g++", "exit 0")
    expect((await failure()).message).toMatch(
      /^`python3` is not on the PATH.*`sudo apt-get install python3 python3-pip`/
    )
    tool("python3", "exit 1")
    expect((await failure()).message).toMatch(/^python3 has no pip.*`sudo apt-get install python3-pip`/)
    expect(readdirSync(options.cache)).toEqual([])
  })

  it("says why pip failed, and leaves nothing behind", async () => {
    tool("g++", "exit 0")
    tool(
      "python3",
      pip(`echo "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('<Connection object at 0x7f>: Network is unreachable')': /simple/" >&2
echo "ERROR: No matching distribution found for tensorflow-cpu==2.21.0" >&2
exit 1`)
    )
    const error = await failure()
    expect(error._tag).toBe("DownloadFailed")
    expect(error.message).toContain(
      "pip could not download tensorflow-cpu 2.21.0: No matching distribution found for tensorflow-cpu==2.21.0 (NewConnectionError('Network is unreachable'))\nCheck the network"
    )
    expect(readdirSync(options.cache)).toEqual([])
  })

  it("refuses a wheel that is not the pinned one", async () => {
    tool("g++", "exit 0")
    tool("python3", pip('echo other > "$2/tensorflow_cpu-2.21.0.whl"'))
    const error = await failure()
    expect(error._tag).toBe("ChecksumMismatch")
    expect(error.message).toContain(
      "tensorflow-cpu 2.21.0 is not the pinned file: expected 273829956 bytes, found 6 bytes."
    )
    expect(readdirSync(options.cache)).toEqual([])
  })

  it("gives the compiler's first error", async () => {
    withLibraries()
    tool("g++", '[ "$1" = --version ] && exit 0\necho "In file included from x"\necho "x.cc:3:1: error: no"\nexit 1')
    tool("python3", "exit 0")
    const error = await failure()
    expect(error._tag).toBe("CompileFailed")
    expect(error.message).toMatch(/the addon (tfjs_binding|preload): x\.cc:3:1: error: no\n/)
    expect(readdirSync(options.cache)).toEqual(["tensorflow-2.21.0-cpu"])
  })

  it("names a cache or clone that it cannot write to", async () => {
    tool("g++", compiles)
    tool("python3", "exit 0")
    writeFileSync(join(folder, "file"), "")
    const cache = join(folder, "file", "cache")
    expect((await failure({ cache })).message).toMatch(
      /cannot be set up in .*file\/cache: ENOTDIR.*\n.*`XDG_CACHE_HOME=FOLDER npm run -s mmt -- engine install`/
    )
    withLibraries()
    const error = await failure({ link: join(folder, "file", "tfjs_binding.node") })
    expect(error).toMatchObject({ _tag: "FolderUnusable", place: "clone", folder: join(folder, "file") })
  })
})

describe("cacheFolder", () => {
  it("follows XDG_CACHE_HOME where that is an absolute path", () => {
    expect(cacheFolder({ XDG_CACHE_HOME: "/somewhere" })).toBe("/somewhere/mmt/engine")
    expect(cacheFolder({ XDG_CACHE_HOME: "relative" })).toMatch(/\.cache\/mmt\/engine$/)
    expect(cacheFolder({})).toMatch(/\.cache\/mmt\/engine$/)
  })
})
