/** Loading TensorFlow: silent, once, with its settings, and with a clear text where it cannot. */
import { spawnSync } from "node:child_process"
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { addonDigest, librariesBeside } from "#engine/layout.ts"
import { loadTensorFlow, locateEngine, openLibrary } from "#engine/tensorflow.ts"

const project = join(import.meta.dirname, "..", "..")
const convolution = join(import.meta.dirname, "convolution.ts")

function runNode(args: ReadonlyArray<string>, environment: Record<string, string> = {}) {
  const { TF_CPP_MIN_LOG_LEVEL: _, ...inherited } = process.env
  return spawnSync(process.execPath, args, { cwd: project, encoding: "utf8", env: { ...inherited, ...environment } })
}

const runModule = (code: string, environment: Record<string, string> = {}) => {
  const imports =
    'import { Effect } from "effect"; import { loadTensorFlow, openLibrary } from "#engine/tensorflow.ts"; '
  return runNode(["--input-type=module", "-e", imports + code], environment)
}

describe("loadTensorFlow", () => {
  it("writes nothing, through its first op and the exit", () => {
    const { status, stdout, stderr } = runNode([convolution])
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "4 4 4 4\n", stderr: "" })
  })

  it("is as silent in a worker thread", () => {
    const start = `new (require("node:worker_threads").Worker)(${JSON.stringify(convolution)})`
    const { status, stdout, stderr } = runNode(["-e", start])
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "4 4 4 4\n", stderr: "" })
  })

  it("lets TensorFlow speak where TF_CPP_MIN_LOG_LEVEL asks for it", () => {
    const { stdout, stderr } = runNode([convolution], { TF_CPP_MIN_LOG_LEVEL: "0" })
    expect(stdout).toBe("4 4 4 4\n")
    // The one line that it has on every CPU.
    expect(stderr).toContain("This TensorFlow binary is optimized")
  })

  it("gives standard error back after it loaded", () => {
    const { stderr } = runModule('Effect.runSync(loadTensorFlow()); process.stderr.write("still here")')
    expect(stderr).toBe("still here")
  })

  it("starts as many threads as it is told", () => {
    const threads = (options: string) => {
      const names = `readdirSync("/proc/self/task").map((id) => readFileSync("/proc/self/task/" + id + "/comm", "utf8"))`
      const { stdout } = runModule(
        `Effect.runSync(loadTensorFlow(${options})); const { readdirSync, readFileSync } = await import("node:fs"); console.log(${names}.join(""))`
      )
      const [ops, others] = [/^tf_Compute/, /^(?!tf_Compute)./].map((name) =>
        stdout.split("\n").filter((x) => name.test(x))
      )
      return { ops: ops!.length, others: others!.length }
    }
    const [narrow, wide] = [
      threads("{ interOpThreads: 5, intraOpThreads: 1 }"),
      threads("{ interOpThreads: 3, intraOpThreads: 4 }")
    ]
    expect([narrow.ops, wide.ops]).toEqual([5, 3])
    // The thread that runs an op takes a share of it too.
    expect(wide.others - narrow.others).toBe(3)
  })

  it("gives the same module again", () => {
    const once = Effect.runSync(loadTensorFlow())
    expect(Effect.runSync(loadTensorFlow({ intraOpThreads: 1 }))).toBe(once)
    expect(once.getBackend()).toBe("tensorflow")
  })
})

describe("an engine that is not there or does not load", () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "mmt-engine-"))
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  it("is missing where the link is absent, with the command to type", () => {
    const error = Effect.runSync(Effect.flip(locateEngine(join(folder, "tfjs_binding.node"))))
    expect(error._tag).toBe("EngineMissing")
    expect(error.message).toBe(
      `TensorFlow is not set up (looked at ${join(folder, "tfjs_binding.node")}). Run \`npm run -s mmt -- engine install\`.`
    )
  })

  it("is missing where the addon is of other sources", () => {
    const addons = join(folder, "addon-cpu-0123456789abcdef")
    mkdirSync(addons)
    writeFileSync(join(addons, "tfjs_binding.node"), "")
    const error = Effect.runSync(Effect.flip(locateEngine(join(addons, "tfjs_binding.node"))))
    expect(error.message).toContain("set up for another version")
  })

  /** An engine with the true `preload.node` and the library that the C++ source makes; without a source, with none. */
  function engineOf(name: string, source?: string) {
    const addons = join(folder, name, `addon-cpu-${addonDigest()}`)
    const libraries = join(addons, librariesBeside("cpu"))
    mkdirSync(addons, { recursive: true })
    mkdirSync(libraries, { recursive: true })
    copyFileSync(join(Effect.runSync(locateEngine()).addons, "preload.node"), join(addons, "preload.node"))
    writeFileSync(join(addons, "tfjs_binding.node"), "")
    const engine = Effect.runSync(locateEngine(join(addons, "tfjs_binding.node")))
    if (source !== undefined) {
      const file = join(folder, `${name}.cc`)
      writeFileSync(
        file,
        `#include <cstdio>\n#include <cstdlib>\n__attribute__((constructor)) static void start() { ${source} }`
      )
      const { status, stderr } = spawnSync("g++", ["-shared", "-fPIC", "-o", engine.library, file], {
        encoding: "utf8"
      })
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" })
    }
    return engine
  }

  const open = (engine: { readonly addons: string; readonly library: string }) =>
    runModule(`Effect.runSync(openLibrary(${JSON.stringify(engine)}, {})); console.log("open")`)

  it("is broken where the library is gone, with the loader's words", () => {
    const error = Effect.runSync(Effect.flip(openLibrary(engineOf("gone"), {})))
    expect(error._tag).toBe("EngineBroken")
    expect(error.message).toMatch(/libtensorflow_cc\.so\.2: cannot open shared object file.*\n.*engine install --force/)
  })

  it("keeps what others write to standard error meanwhile, and only that", () => {
    const line = 'fputs("I0000 00:00:1.2 3 port.cc:153] oneDNN is on\\nfrom another thread\\n", stderr);'
    const { stdout, stderr } = open(engineOf("chatty", line))
    expect({ stdout, stderr }).toEqual({ stdout: "open\n", stderr: "from another thread\n" })
  })

  it("shows TensorFlow's last words where it aborts", () => {
    const { signal, stderr } = open(engineOf("aborting", 'fputs("F0000 this CPU lacks AVX\\n", stderr); abort();'))
    expect(signal).toBe("SIGABRT")
    expect(stderr).toContain("this CPU lacks AVX")
  })
})
