/**
 * `mmt engine`: sets up TensorFlow and checks it.
 */
import { Console, Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { checkEngine } from "#engine/check.ts"
import { type Installation, type InstallProgress, installEngine } from "#engine/install.ts"

const outcomes: Readonly<Record<Installation["state"], string>> = {
  fresh: "is set up",
  linked: "was in the cache and is set up for this clone",
  unchanged: "was set up already"
}

const verbs: Readonly<Record<InstallProgress["task"], string>> = {
  download: "downloading",
  unpack: "unpacking",
  compile: "compiling"
}

function describe({ task, label, done, total }: InstallProgress): string {
  const megabytes = (bytes: number) => String(Math.round(bytes / 1e6))
  const amount = task === "download" ? ` ${megabytes(done)} of ${megabytes(total)} MB` : ""
  return `${verbs[task]} ${label}${amount}`
}

/** Shows the installation as one line that is overwritten on a terminal, elsewhere as a line for each new task. */
function progressPrinter(stream: NodeJS.WriteStream) {
  let task = ""
  return {
    show: (progress: InstallProgress) => {
      const next = `${verbs[progress.task]} ${progress.label}`
      if (stream.isTTY) stream.write(`\r\u001b[K${describe(progress)}`)
      else if (next !== task) stream.write(`${next}\n`)
      task = next
    },
    end: Effect.sync(() => {
      if (stream.isTTY && task !== "") stream.write("\r\u001b[K")
    })
  }
}

const install = Command.make(
  "install",
  {
    cuda: Flag.Boolean("cuda").pipe(
      Flag.withDescription("With CUDA 12 for NVIDIA GPUs (3.4 GB to download); --no-cuda goes back to the CPU"),
      Flag.optional
    ),
    force: Flag.Boolean("force").pipe(
      Flag.withDescription("Set it up anew though it is there: for a damaged cache"),
      Flag.withDefault(false)
    )
  },
  Effect.fn("engine install")(function* ({ cuda, force }) {
    const printer = progressPrinter(process.stderr)
    const { flavour, folder, state } = yield* installEngine({
      force,
      ...(Option.isSome(cuda) ? { cuda: cuda.value } : {}),
      onProgress: printer.show
    }).pipe(Effect.ensuring(printer.end))
    yield* Console.log(`TensorFlow (${flavour === "cuda" ? "CUDA" : "CPU"}) ${outcomes[state]}: ${folder}`)
  })
).pipe(
  Command.withShortDescription("Set up TensorFlow for this clone"),
  Command.withDescription(
    "Set up TensorFlow for this clone: fetch its libraries with pip (274 MB) and compile the addon with g++, both into ~/.cache/mmt/engine (or $XDG_CACHE_HOME/mmt/engine). Another clone finds them there; a second call does nothing."
  ),
  Command.withExamples([
    { command: "mmt engine install", description: "for the CPU" },
    { command: "mmt engine install --cuda", description: "for an NVIDIA GPU" }
  ])
)

const check = Command.make(
  "check",
  {},
  Effect.fn("engine check")(function* () {
    const { version, device, intraOpThreads, interOpThreads, results } = yield* checkEngine
    yield* Console.log(
      [
        `TensorFlow ${version} on ${device}, ${intraOpThreads} threads an op, ${interOpThreads} ops at a time`,
        ...results.map(({ what, values }) => `${what}: ${values.join(" ")}, as expected`)
      ].join("\n")
    )
  })
).pipe(
  Command.withShortDescription("Say what TensorFlow runs on, and check its results"),
  Command.withDescription(
    "Load TensorFlow, say its version, device and threads, and compare a small convolution and its gradients with values computed by hand. Exit code 1 if they differ or it does not load."
  ),
  Command.withExamples([{ command: "mmt engine check", description: "after an installation" }])
)

/** The command `mmt engine`. */
export const engine = Command.make("engine").pipe(
  Command.withDescription("Set up TensorFlow and check it"),
  Command.withExamples([{ command: "mmt engine install", description: "set up TensorFlow" }]),
  Command.withSubcommands([install, check])
)
