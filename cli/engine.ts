/**
 * `mmt engine`: sets up TensorFlow and checks it.
 */
import { Console, Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { type ProgressLine, progressLine } from "#cli/progress.ts"
import { checkEngine } from "#engine/check.ts"
import { type Installation, type InstallProgress, installEngine } from "#engine/install.ts"

const outcomes: Readonly<Record<Installation["state"], string>> = {
  fresh: "is set up",
  linked: "was in the cache and is set up for this clone",
  unchanged: "was set up already"
}

/** Shows the installation: each download as a line of progress in megabytes, the rest as one plain line a task. */
function progressPrinter() {
  let download: { readonly label: string; readonly line: ProgressLine } | undefined
  const end = () => {
    download?.line.end()
    download = undefined
  }
  const show = (progress: InstallProgress) => {
    if (progress.task !== "download") {
      end()
      process.stderr.write(`${progress.task === "unpack" ? "unpacking" : "compiling"} ${progress.label}\n`)
      return
    }
    const { label, done, total } = progress
    if (download?.label !== label) {
      end()
      download = { label, line: progressLine(`downloading ${label}, MB`, total / 1e6) }
    }
    download.line.update(done / 1e6)
  }
  return { show, end }
}

/** Installs the engine, showing how far it is, and gives what it found or made. */
const installShown = (options: { readonly cuda?: boolean; readonly force?: boolean }) =>
  Effect.suspend(() => {
    const printer = progressPrinter()
    return installEngine({ ...options, onProgress: printer.show }).pipe(Effect.ensuring(Effect.sync(printer.end)))
  })

const said = ({ flavour, folder, state }: Installation) =>
  `TensorFlow (${flavour === "cuda" ? "CUDA" : "CPU"}) ${outcomes[state]}: ${folder}`

/** Sets up the engine where it is missing; says nothing where it is there. */
export const ensureEngine = Effect.gen(function* () {
  const installation = yield* installShown({})
  if (installation.state !== "unchanged") yield* Console.error(said(installation))
})

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
    yield* Console.log(said(yield* installShown({ force, ...(Option.isSome(cuda) ? { cuda: cuda.value } : {}) })))
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
