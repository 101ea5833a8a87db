/**
 * Where the engine lies: TensorFlow's libraries and the compiled addon in a cache of the user that all clones share, and
 * the link in this clone's `node_modules` through which tfjs-node finds the addon.
 */
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { homedir } from "node:os"
import { basename, dirname, isAbsolute, join } from "node:path"
import { fileURLToPath } from "node:url"

/** Which build of TensorFlow: for the CPU alone, or with CUDA (which falls back to the CPU where there is no GPU). */
export type Flavour = "cpu" | "cuda"

/** The release of TensorFlow that the engine is made of. */
export const tensorflowVersion = "2.21.0"

const require = createRequire(import.meta.url)

/** Include folder of Node's C API. */
export const nodeApiInclude: string = require("node-api-headers").include_dir

/** tfjs-node's package folder: the addon's includes start there. */
export const tfjsPackage = dirname(require.resolve("@tensorflow/tfjs-node-gpu/package.json"))

const own = (name: string) => fileURLToPath(new URL(`addon/${name}`, import.meta.url))

/** The C++ sources of the addons, in the order in which they are digested. */
export const sources = {
  tfjs_binding: [
    ...["tfjs_backend.cc", "tfjs_binding.cc"].map((name) => join(tfjsPackage, "binding", name)),
    ...["normalisation.cc", "updates.cc", "resize.cc", "greatest.cc", "convolution.cc"].map(own)
  ],
  program: [own("program.cc")],
  preload: [own("preload.cc")]
}

/** What the sources include beside TensorFlow's and Node's headers. */
const headers = [
  "handles.h",
  "text.h",
  "kernel-api.h",
  "kernel.h",
  "normalisation-loops.h",
  "updates-loops.h",
  "resize-loops.h",
  "greatest-loops.h",
  "convolution-blocks.h",
  "convolution-loops.h",
  "convolution-products.h",
  "convolution-tiles.h",
  "convolution-winograd.h",
  "memory.h"
].map(own)

/** Where tfjs-node looks for its addon; the installation puts a link to the cache there. */
export const bindingLink = join(tfjsPackage, "lib", "napi-v8", "tfjs_binding.node")

/** Compiler settings that shape the addons; they are part of `addonDigest`. */
export const compilerFlags = [
  ...["-O3", "-fopenmp", "-fno-math-errno", "-fno-trapping-math"],
  ...["-std=c++17", "-shared", "-fPIC", "-DNAPI_VERSION=8"]
]

/** Digest of all that the addons are made of, so that a change of any of it builds them anew (16 hex digits). */
export function addonDigest(): string {
  const hash = createHash("sha256").update(JSON.stringify([tensorflowVersion, process.arch, compilerFlags]))
  for (const file of [...Object.values(sources).flat(), ...headers]) hash.update(readFileSync(file))
  return hash.digest("hex").slice(0, 16)
}

/** The engine's cache: `$XDG_CACHE_HOME/mmt/engine`, by default `~/.cache/mmt/engine`. */
export function cacheFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const base = environment.XDG_CACHE_HOME
  return join(base && isAbsolute(base) ? base : join(homedir(), ".cache"), "mmt", "engine")
}

/** Folder of one build of TensorFlow in the cache: `tensorflow/` with the libraries, `nvidia/` beside it for CUDA. */
export function libraryFolder(flavour: Flavour, cache: string): string {
  return join(cache, `tensorflow-${tensorflowVersion}-${flavour}`)
}

/** The libraries of one build of TensorFlow, as the addons see them from their own folder. */
export function librariesBeside(flavour: Flavour): string {
  return join("..", `tensorflow-${tensorflowVersion}-${flavour}`, "tensorflow")
}

/** Folder of the compiled addons for one build of TensorFlow. */
export function addonFolder(flavour: Flavour, cache: string): string {
  return join(cache, `addon-${flavour}-${addonDigest()}`)
}

/** The build of TensorFlow that an addon folder belongs to, and its digest; undefined for any other name. */
export function readAddonFolder(folder: string): { readonly flavour: Flavour; readonly digest: string } | undefined {
  const match = /^addon-(cpu|cuda)-([0-9a-f]{16})$/.exec(basename(folder))
  return match ? { flavour: match[1] as Flavour, digest: match[2] as string } : undefined
}
