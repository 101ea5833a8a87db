/**
 * Loads TensorFlow into this process, through tfjs-node's addon, without a word on standard output or error.
 */
import { realpathSync } from "node:fs"
import { createRequire } from "node:module"
import { totalmem } from "node:os"
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

/** A set-up engine: the folder of its addons and TensorFlow's library. */
export interface Engine {
  readonly addons: string
  readonly library: string
}

const require = createRequire(import.meta.url)

/** Finds the engine that the addon's link points at, and makes sure that it belongs to this version of the project. */
export const locateEngine = (link: string = bindingLink): Effect.Effect<Engine, EngineMissing> =>
  Effect.gen(function* () {
    const binding = yield* Effect.try({
      try: () => realpathSync(link),
      catch: () => new EngineMissing({ path: link, reason: "absent" })
    })
    const addons = dirname(binding)
    const addon = readAddonFolder(addons)
    if (addon?.digest !== addonDigest()) return yield* new EngineMissing({ path: addons, reason: "outdated" })
    return { addons, library: join(addons, librariesBeside(addon.flavour), "libtensorflow_cc.so.2") }
  })

interface Preload {
  readonly preload: (library: string, ...nameAndValue: ReadonlyArray<string>) => string
}

const quietest = "3"
const logLevel = () => process.env.TF_CPP_MIN_LOG_LEVEL ?? quietest

function variables({ intraOpThreads, interOpThreads }: LoadOptions): ReadonlyArray<string> {
  return [
    ...["TF_CPP_MIN_LOG_LEVEL", logLevel()],
    // Threads of our own kernels that wait for work sleep, in place of taking a core from TensorFlow's.
    ...["OMP_WAIT_POLICY", "passive"],
    // Tensors are made in memory of earlier ones. The C library's allocator leaves gaps: a step of ResNet-50 takes a quarter more.
    ...["TF_CPU_ALLOCATOR_USE_BFC", process.env.TF_CPU_ALLOCATOR_USE_BFC ?? "true"],
    ...[
      "TF_CPU_BFC_MEM_LIMIT_IN_MB",
      process.env.TF_CPU_BFC_MEM_LIMIT_IN_MB ?? String(Math.ceil(totalmem() / 2 ** 20))
    ],
    ...(intraOpThreads ? ["TF_NUM_INTRAOP_THREADS", String(intraOpThreads)] : []),
    ...(interOpThreads ? ["TF_NUM_INTEROP_THREADS", String(interOpThreads)] : [])
  ]
}

// Log lines of TensorFlow; whatever else was written meanwhile (by another thread) is not ours to swallow.
const logLine = /^(WARNING: All log messages before absl::InitializeLog|[IWEF]\d{4} )/

function showForeignLines(text: string) {
  const quiet = logLevel() === quietest
  const kept = text.split("\n").filter((line) => line !== "" && !(quiet && logLine.test(line)))
  if (kept.length > 0) process.stderr.write(`${kept.join("\n")}\n`)
}

const broken = (engine: Engine) => (cause: unknown) =>
  new EngineBroken({ path: engine.addons, detail: cause instanceof Error ? cause.message : String(cause) })

/** Opens TensorFlow's library for this process, in silence unless TF_CPP_MIN_LOG_LEVEL asks for more. */
export const openLibrary = (engine: Engine, options: LoadOptions): Effect.Effect<void, EngineBroken> =>
  Effect.try({
    try: () => {
      const { preload } = require(join(engine.addons, "preload.node")) as Preload
      showForeignLines(preload(engine.library, ...variables(options)))
    },
    catch: broken(engine)
  })

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

/** The values of a tensor, as sessions take and give them. */
export type Values = Float32Array | Int32Array

/** What a session is asked: nodes that are fed with their shapes and values, nodes that are fetched, others that are to run. */
type SessionCall = readonly [
  session: GraphSession,
  feeds: ReadonlyArray<string>,
  shapes: ReadonlyArray<ReadonlyArray<number>>,
  values: ReadonlyArray<Values>,
  fetches: ReadonlyArray<string>,
  targets: ReadonlyArray<string>
]

/** A session of a graph, as the addon `program.cc` holds it. */
export interface GraphSession {
  readonly GraphSession: unique symbol
}

/** The addon `program.cc`: sessions that run on typed arrays. */
export interface GraphSessions {
  /** Of a GraphDef; with `asWritten` TensorFlow leaves it as it is. */
  readonly open: (graph: Uint8Array, asWritten: boolean) => GraphSession
  /** The values of the fetched nodes' first outputs. */
  readonly run: (...call: SessionCall) => ReadonlyArray<Values>
  /** The same while JavaScript goes on; until then the values that are fed must not change. */
  readonly runBeside: (...call: SessionCall) => Promise<ReadonlyArray<Values>>
  readonly close: (session: GraphSession) => void
}

let loaded: TensorFlow | undefined
let sessions: GraphSessions | undefined

/** The sessions of the TensorFlow that is loaded. */
export const graphSessions = (): GraphSessions => sessions!

/**
 * TensorFlow, loaded once for the process; later calls get the same module, whatever their options.
 *
 * One thread of a process may use it at a time: tfjs-node's addon shares state between threads without a lock.
 */
export const loadTensorFlow = (options: LoadOptions = {}): Effect.Effect<TensorFlow, EngineMissing | EngineBroken> =>
  Effect.gen(function* () {
    if (loaded) return loaded
    const engine = yield* locateEngine()
    yield* openLibrary(engine, options)
    loaded = yield* Effect.try({ try: requireTfjs, catch: broken(engine) })
    const addon = join(engine.addons, "program.node")
    sessions = yield* Effect.try({ try: () => require(addon) as GraphSessions, catch: broken(engine) })
    return loaded
  })
