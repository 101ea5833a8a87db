/** The Python that the peer runs in: an environment of its own in the user's cache, with the pinned packages from PyPI. */
import { createHash } from "node:crypto"
import { mkdirSync, readFileSync, statfsSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect, FileSystem, Schema, Stream } from "effect"
import { ChildProcess } from "effect/process"
import { progressLine } from "#cli/progress.ts"
import { cacheFolder } from "#engine/layout.ts"
import { createWhole, isWhole, sweep } from "#engine/store.ts"

const requirements = fileURLToPath(new URL("peer/requirements.txt", import.meta.url))

/** PyTorch's wheel for Linux brings CUDA's libraries along, which nothing here uses: bytes of all wheels, as PyPI has them. */
const downloadBytes = 3.13e9
/** The wheels and what is unpacked of them, while both are there. */
const room = 9.5e9

/** The peer's Python could not be made; `detail` is what the tool said. */
export class PeerUnavailable extends Schema.TaggedError<PeerUnavailable>()("PeerUnavailable", {
  problem: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `${this.problem}: ${this.detail}\nThe bench can also use a Python that has the packages of bench/peer/requirements.txt: \`MMT_BENCH_PYTHON=PYTHON npm run bench\`.`
  }
}

/** Runs a Python to its end and gives what it wrote; fails with the last lines of that where it fails. */
const python = Effect.fn("python")(
  function* (
    problem: string,
    executable: string,
    args: ReadonlyArray<string>,
    environment: Record<string, string> = {}
  ) {
    const child = yield* ChildProcess.make(executable, [...args], {
      env: environment,
      extendEnv: true,
      stdin: "ignore"
    })
    const output = (yield* child.all.pipe(Stream.decodeText, Stream.mkString)).trim()
    if ((yield* child.exitCode) === 0) return output
    return yield* new PeerUnavailable({
      problem,
      detail: output.split("\n").slice(-4).join("\n") || "it gave no reason"
    })
  },
  Effect.scoped,
  (effect, problem) =>
    Effect.catchTag(effect, "PlatformError", (error) => new PeerUnavailable({ problem, detail: error.message }))
)

/** The folder of the environment: another one for other pins, and for another python3. */
export const environmentFolder = (cache: string, pins: string, pythonVersion: string): string => {
  const digest = createHash("sha256")
    .update(JSON.stringify([pins, pythonVersion]))
    .digest("hex")
    .slice(0, 16)
  return join(cache, `venv-${digest}`)
}

const bytesOf = Effect.fn("bytesOf")(function* (folder: string) {
  const fs = yield* FileSystem.FileSystem
  const names = yield* fs.readDirectory(folder, { recursive: true }).pipe(Effect.orElseSucceed(() => []))
  // pip moves files while we look.
  const size = (name: string) =>
    fs.stat(join(folder, name)).pipe(
      Effect.map((info) => (info.type === "File" ? Number(info.size) : 0)),
      Effect.orElseSucceed(() => 0)
    )
  const sizes = yield* Effect.forEach(names, size)
  return sizes.reduce((sum, bytes) => sum + bytes, 0)
})

const quiet = ["--quiet", "--no-input", "--disable-pip-version-check"]

const download = Effect.fn("download")(function* (executable: string, wheels: string) {
  const line = progressLine("downloading PyTorch, torchvision and scikit-learn, MB", downloadBytes / 1e6)
  // While pip copies a file to its place, it is there twice.
  const watch = bytesOf(wheels).pipe(
    Effect.tap((bytes) => Effect.sync(() => line.update(Math.min(bytes, downloadBytes) / 1e6))),
    Effect.andThen(Effect.sleep("500 millis")),
    Effect.forever
  )
  const args = ["-m", "pip", "download", ...quiet, "--no-cache-dir", "--only-binary=:all:", "--dest", wheels]
  // pip gathers its files in its temporary folder: there they are watched, and take no space elsewhere.
  const pip = python("pip could not download PyTorch", executable, [...args, "-r", requirements], { TMPDIR: wheels })
  yield* Effect.raceFirst(pip, watch).pipe(Effect.ensuring(Effect.sync(line.end)))
})

/** Fills a folder with an environment. It is called by its bin/python alone, so that the folder can be renamed. */
const fill = (folder: string) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const executable = join(folder, "bin", "python")
    const wheels = join(folder, "wheels")
    yield* python("python3 cannot make a virtual environment", "python3", ["-m", "venv", folder])
    yield* fs.makeDirectory(wheels)
    yield* download(executable, wheels)
    process.stderr.write("unpacking them\n")
    const args = ["-m", "pip", "install", ...quiet, "--no-index", "--find-links", wheels, "-r", requirements]
    yield* python("pip could not install PyTorch", executable, args)
    yield* fs.remove(wheels, { recursive: true })
  })

const prepareCache = (cache: string) =>
  Effect.try({
    try: () => {
      mkdirSync(cache, { recursive: true })
      const { bavail, bsize } = statfsSync(cache)
      if (bavail * bsize < room) throw new Error(`it takes ${room / 1e9} GB, and ${(bavail * bsize) / 1e9} GB are free`)
    },
    catch: (error) =>
      new PeerUnavailable({ problem: `PyTorch cannot be set up in ${cache}`, detail: (error as Error).message })
  })

/** Makes the environment where it is missing, saying what it does on stderr, and gives its Python. */
const made = Effect.gen(function* () {
  const version = yield* python("python3 does not run", "python3", [
    "-c",
    "import sys; print(sys.version, sys.base_prefix)"
  ])
  const cache = join(dirname(cacheFolder()), "bench")
  const folder = environmentFolder(cache, readFileSync(requirements, "utf8"), version)
  if (!(yield* isWhole(folder))) {
    process.stderr.write(`making a Python environment with PyTorch in ${folder}\n`)
    yield* prepareCache(cache)
    yield* sweep(cache)
    yield* createWhole(folder, false, fill)
  }
  return join(folder, "bin", "python")
})

/** The Python that runs the peer's side: $MMT_BENCH_PYTHON, or that of the environment in the cache. */
export const peerPython = Effect.suspend(() => {
  const given = process.env.MMT_BENCH_PYTHON
  return given ? Effect.succeed(given) : made
})
