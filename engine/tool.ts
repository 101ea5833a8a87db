/**
 * Runs the machine's own tools (python3 with pip, g++) that setting up the engine takes. No shell is involved.
 */
import { Effect, Schema, Stream } from "effect"
import { ChildProcess, ChildProcessSpawner } from "effect/process"

const packages = { "g++": "g++", python3: "python3 python3-pip", pip: "python3-pip" } as const

/** A tool that the installation needs is not on this machine. */
export class ToolMissing extends Schema.TaggedError<ToolMissing>()("ToolMissing", {
  tool: Schema.Literals(["g++", "python3", "pip"])
}) {
  override get message() {
    const missing = this.tool === "pip" ? "python3 has no pip" : `\`${this.tool}\` is not on the PATH`
    return `${missing}, which setting up TensorFlow takes: type \`sudo apt-get install ${packages[this.tool]}\` (or what your system has for it).`
  }
}

/** How a tool ended, and all that it wrote. */
export interface ToolResult {
  readonly exitCode: number
  readonly output: string
}

/**
 * Runs a tool to its end and gathers its output; it is killed when the effect is interrupted.
 * `environment` is added to this process's own. Fails with `ToolMissing` where there is no such program.
 */
export const runTool = Effect.fn("runTool")(
  function* (tool: "g++" | "python3", args: ReadonlyArray<string>, environment: Record<string, string> = {}) {
    const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
    const command = ChildProcess.make(tool, [...args], { env: environment, extendEnv: true, stdin: "ignore" })
    const child = yield* spawner.spawn(command)
    const output = yield* child.all.pipe(Stream.decodeText(), Stream.mkString)
    return { exitCode: Number(yield* child.exitCode), output } satisfies ToolResult
  },
  Effect.scoped,
  (effect, tool) =>
    Effect.catchTag(effect, "PlatformError", (error) =>
      error.reason._tag === "NotFound" || error.reason._tag === "PermissionDenied"
        ? Effect.fail(new ToolMissing({ tool }))
        : Effect.die(error)
    )
)

/** Fails unless g++ and a python3 with pip are there, before anything large is fetched. */
export const requireTools = Effect.gen(function* () {
  yield* runTool("g++", ["--version"])
  const pip = yield* runTool("python3", ["-m", "pip", "--version"])
  if (pip.exitCode !== 0) return yield* new ToolMissing({ tool: "pip" })
})
