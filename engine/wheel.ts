/**
 * Fetches pinned wheels with pip, checks them against their pins and unpacks the wanted files.
 */
import { createHash } from "node:crypto"
import { join } from "node:path"
import { Effect, FileSystem, Schema, Stream } from "effect"
import { platforms, pythonVersion, type Wheel } from "#engine/pins.ts"
import { runTool } from "#engine/tool.ts"

/** pip could not fetch a wheel; `detail` is what it said. */
export class DownloadFailed extends Schema.TaggedError<DownloadFailed>()("DownloadFailed", {
  wheel: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `pip could not download ${this.wheel}: ${this.detail}\nCheck the network and pip's settings (\`pip config list\`), then run \`npm run -s mmt -- engine install\` again.`
  }
}

/** A downloaded wheel is not the pinned one. */
export class ChecksumMismatch extends Schema.TaggedError<ChecksumMismatch>()("ChecksumMismatch", {
  wheel: Schema.String,
  expected: Schema.String,
  found: Schema.String
}) {
  override get message() {
    return `The downloaded ${this.wheel} is not the pinned file: expected ${this.expected}, found ${this.found}.\nThe package index or a proxy served something else: check \`pip config list\`, then run \`npm run -s mmt -- engine install\` again.`
  }
}

/** A wheel could not be unpacked; `detail` is what Python said. */
export class UnpackFailed extends Schema.TaggedError<UnpackFailed>()("UnpackFailed", {
  wheel: Schema.String,
  folder: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `${this.wheel} could not be unpacked into ${this.folder}: ${this.detail}\nMake room there if it is full, then run \`npm run -s mmt -- engine install\` again.`
  }
}

const unpackProgram = `
import fnmatch, sys, zipfile
wheel, folder, *patterns = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    archive.extractall(folder, [n for n in archive.namelist() if any(fnmatch.fnmatch(n, p) for p in patterns)])
`

const lastLine = (output: string) => output.trim().split("\n").at(-1) || "it gave no reason"

/** pip's reason: its errors, and why it tried again, since "no matching distribution" alone hides that the network is down. */
function pipReason(output: string): string {
  const lines = output.split("\n")
  const error = lines
    .findLast((line) => line.startsWith("ERROR: ") && line !== "ERROR: Exception:")
    ?.slice("ERROR: ".length)
  const retry = lines.findLast((line) => /Retrying .*after connection broken by/.test(line))
  const cause = retry?.match(/broken by '(.*)'/)?.[1]?.replace(/<[^>]*>: /, "")
  return [error ?? lastLine(output), ...(cause ? [`(${cause})`] : [])].join(" ")
}

/** Bytes of wheels under a folder, those that pip has not finished included. */
const wheelBytes = Effect.fn("wheelBytes")(
  function* (folder: string) {
    const fs = yield* FileSystem.FileSystem
    const names = yield* fs.readDirectory(folder, { recursive: true })
    const sizes = yield* Effect.forEach(
      names.filter((name) => name.endsWith(".whl")),
      // pip moves the file while we look.
      (name) =>
        fs.stat(join(folder, name)).pipe(
          Effect.map((info) => Number(info.size)),
          Effect.orElseSucceed(() => 0)
        )
    )
    return sizes.reduce((sum, size) => sum + size, 0)
  },
  Effect.orElseSucceed(() => 0)
)

const digest = Effect.fn("digest")(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const hash = createHash("sha256")
  yield* fs
    .stream(file, { chunkSize: 1 << 20 })
    .pipe(Stream.runForEach((bytes) => Effect.sync(() => hash.update(bytes))))
  return hash.digest("hex")
})

/**
 * Downloads a wheel into an empty folder and checks it; the result is the file's path. `onBytes` hears several times a second
 * how many bytes are there.
 */
export const downloadWheel = Effect.fn("downloadWheel")(function* (
  wheel: Wheel,
  folder: string,
  onBytes: (bytes: number) => void
) {
  const fs = yield* FileSystem.FileSystem
  const name = `${wheel.project} ${wheel.version}`
  const watch = wheelBytes(folder).pipe(
    Effect.tap((bytes) => Effect.sync(() => onBytes(Math.min(bytes, wheel.size)))),
    Effect.andThen(Effect.sleep("200 millis")),
    Effect.forever
  )
  const pip = runTool(
    "python3",
    [
      ...["-m", "pip", "download", "--quiet", "--no-input", "--no-cache-dir", "--disable-pip-version-check"],
      ...["--no-deps", "--only-binary=:all:", "--python-version", pythonVersion, "--dest", folder],
      ...platforms.flatMap((platform) => ["--platform", platform]),
      `${wheel.project}==${wheel.version}`
    ],
    // pip gathers the file in its temporary folder: there it is watched, and it takes no space elsewhere.
    { TMPDIR: folder }
  )
  const { exitCode, output } = yield* Effect.raceFirst(pip, watch)
  const file = (yield* fs.readDirectory(folder)).find((entry) => entry.endsWith(".whl"))
  if (exitCode !== 0 || file === undefined) {
    return yield* new DownloadFailed({ wheel: name, detail: pipReason(output) })
  }
  const path = join(folder, file)
  const size = Number((yield* fs.stat(path)).size)
  if (size !== wheel.size) {
    return yield* new ChecksumMismatch({ wheel: name, expected: `${wheel.size} bytes`, found: `${size} bytes` })
  }
  const sha256 = yield* digest(path)
  if (sha256 !== wheel.sha256) {
    return yield* new ChecksumMismatch({ wheel: name, expected: `sha256 ${wheel.sha256}`, found: sha256 })
  }
  onBytes(size)
  return path
})

/** Unpacks the wanted files of a wheel into a folder. */
export const unpackWheel = Effect.fn("unpackWheel")(function* (wheel: Wheel, file: string, folder: string) {
  const { exitCode, output } = yield* runTool("python3", ["-c", unpackProgram, file, folder, ...wheel.files])
  if (exitCode !== 0) {
    return yield* new UnpackFailed({ wheel: `${wheel.project} ${wheel.version}`, folder, detail: lastLine(output) })
  }
})
