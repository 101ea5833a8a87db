/**
 * Compiles the addons: tfjs-node's own, from the sources in its package with this project's kernels, `program.cc`, and
 * `preload.cc`.
 */
import { join } from "node:path"
import { Effect, Schema } from "effect"
import {
  compilerFlags,
  type Flavour,
  librariesBeside,
  libraryFolder,
  nodeApiInclude,
  sources,
  tfjsPackage
} from "#engine/layout.ts"
import { runTool } from "#engine/tool.ts"

/** g++ refused an addon; `detail` is its first error. */
export class CompileFailed extends Schema.TaggedError<CompileFailed>()("CompileFailed", {
  addon: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `g++ could not compile the addon ${this.addon}: ${this.detail}\nA g++ of version 9 or newer with its C++ library is needed (\`sudo apt-get install g++\`).`
  }
}

const compile = Effect.fn("compile")(function* (addon: string, args: ReadonlyArray<string>) {
  const { exitCode, output } = yield* runTool("g++", args, { LC_ALL: "C" })
  if (exitCode === 0) return
  const lines = output.trim().split("\n")
  return yield* new CompileFailed({ addon, detail: lines.find((line) => /\berror\b/.test(line)) ?? lines.at(-1) ?? "" })
})

/**
 * Writes `tfjs_binding.node`, `program.node` and `preload.node` into `folder`, against one build of TensorFlow. They find its libraries
 * by a path relative to their own folder, which must lie in `cache` in the end.
 */
export const buildAddons = Effect.fn("buildAddons")(function* (flavour: Flavour, cache: string, folder: string) {
  const tensorflow = join(libraryFolder(flavour, cache), "tensorflow")
  const includes = [nodeApiInclude, tfjsPackage, join(tensorflow, "include")].flatMap((path) => ["-I", path])
  const libraries = [
    "-l:libtensorflow_cc.so.2",
    "-l:libtensorflow_framework.so.2",
    `-Wl,-rpath,$ORIGIN/${librariesBeside(flavour)}`
  ]
  const output = (addon: string) => ["-o", join(folder, `${addon}.node`)]
  yield* Effect.all(
    [
      ...(["tfjs_binding", "program"] as const).map((addon) =>
        compile(addon, [
          ...[...compilerFlags, ...includes, ...sources[addon], ...output(addon)],
          ...["-L", tensorflow, ...libraries]
        ])
      ),
      compile("preload", [...compilerFlags, ...includes, ...sources.preload, ...output("preload"), "-ldl"])
    ],
    { concurrency: 2, discard: true }
  )
})
