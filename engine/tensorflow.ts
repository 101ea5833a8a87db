/**
 * Loads TensorFlow into this process, through tfjs-node's addon, without a word on standard output or error.
 */
import { realpathSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import util from "node:util"
import { Effect, Schema } from "effect"
import { addonDigest, bindingLink, librariesBeside, readAddonFolder } from "#engine/layout.ts"

/** tfjs with TensorFlow as its backend. */
export type TensorFlow = typeof import("@tensorflow/tfjs-node-gpu")

/** No engine is set up for this clone, or one of an earlier version of the project. */
export class EngineMissing extends Schema.TaggedError<EngineMissing>()("EngineMissing", {
  path: Schema.String,
  reason: Schema.Literals(["absent", "outdated"])
}) {
  override get message() {
    const found = this.reason === "absent" ? "TensorFlow is not set up" : "TensorFlow was set up for another version"
    return `${found} (looked at ${this.path}). Run \`npm run -s mmt -- engine install\`.`
  }
}

/** The engine is there but does not load; `detail` holds what TensorFlow and the loader said. */
export class EngineBroken extends Schema.TaggedError<EngineBroken>()("EngineBroken", {
  path: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `TensorFlow does not load from ${this.path}: ${this.detail}\nRun \`npm run -s mmt -- engine install --force\` to set it up anew.`
  }
}

/** Settings that TensorFlow reads once, when it loads; 0 or none leaves the choice to TensorFlow (one thread a core). */
export interface LoadOptions {
  /** Threads that share the work of one op. */
  readonly intraOpThreads?: number
  /** Ops that run at the same time. */
  readonly interOpThreads?: number
}

const require = createRequire(import.meta.url)

interface Preload {
  readonly preload: (library: string, ...nameAndValue: ReadonlyArray<string>) => string
}

function variables({ intraOpThreads, interOpThreads }: LoadOptions): ReadonlyArray<string> {
  return [
    ...["TF_CPP_MIN_LOG_LEVEL", process.env.TF_CPP_MIN_LOG_LEVEL ?? "3"],
    ...(intraOpThreads ? ["TF_NUM_INTRAOP_THREADS", String(intraOpThreads)] : []),
    ...(interOpThreads ? ["TF_NUM_INTEROP_THREADS", String(interOpThreads)] : [])
  ]
}

// Log lines of TensorFlow; whatever else was written meanwhile (by another thread) is not ours to swallow.
const logLine = /^(WARNING: All log messages before absl::InitializeLog|[IWEF]\d{4} )/

function showForeignLines(text: string) {
  const chatty = (process.env.TF_CPP_MIN_LOG_LEVEL ?? "3") < "3"
  const kept = text.split("\n").filter((line) => line !== "" && (chatty || !logLine.test(line)))
  if (kept.length > 0) process.stderr.write(`${kept.join("\n")}\n`)
}

function load(link: string, options: LoadOptions): Effect.Effect<TensorFlow, EngineMissing | EngineBroken> {
  return Effect.gen(function* () {
    const binding = yield* Effect.try({
      try: () => realpathSync(link),
      catch: () => new EngineMissing({ path: link, reason: "absent" })
    })
    const folder = dirname(binding)
    const addon = readAddonFolder(folder)
    if (addon?.digest !== addonDigest()) return yield* new EngineMissing({ path: folder, reason: "outdated" })
    return yield* Effect.try({
      try: () => {
        const library = join(folder, librariesBeside(addon.flavour), "libtensorflow_cc.so.2")
        const { preload } = require(join(folder, "preload.node")) as Preload
        showForeignLines(preload(library, ...variables(options)))
        return requireTfjs()
      },
      catch: (cause) =>
        new EngineBroken({ path: folder, detail: cause instanceof Error ? cause.message : String(cause) })
    })
  })
}

function requireTfjs(): TensorFlow {
  // Two functions that Node 23 dropped and tfjs-node still calls.
  Object.assign(util, { isNullOrUndefined: (value: unknown) => value == null, isArray: Array.isArray })
  // node-pre-gyp, which finds the addon, takes this process's flags for its own.
  const { argv } = process
  process.argv = argv.slice(0, 2)
  try {
    return require("@tensorflow/tfjs-node-gpu") as TensorFlow
  } finally {
    process.argv = argv
  }
}

let loaded: TensorFlow | undefined

/**
 * TensorFlow, loaded once for the process; later calls get the same module, whatever their options.
 *
 * One thread of a process may use it at a time: tfjs-node's addon shares state between threads without a lock.
 */
export const loadTensorFlow = (options: LoadOptions = {}): Effect.Effect<TensorFlow, EngineMissing | EngineBroken> =>
  Effect.suspend(() => {
    if (loaded) return Effect.succeed(loaded)
    return Effect.map(load(bindingLink, options), (tensorflow) => {
      loaded = tensorflow
      return tensorflow
    })
  })
