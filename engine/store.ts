/**
 * Folders of the cache that are either whole or not there: each is made under another name, listed file by file in its
 * `manifest.json`, and renamed when it is done.
 */
import { randomUUID } from "node:crypto"
import { hostname } from "node:os"
import { dirname, join } from "node:path"
import { Effect, FileSystem, Schema } from "effect"

const Manifest = Schema.fromJsonString(Schema.Struct({ files: Schema.Record(Schema.String, Schema.Int) }))
const manifestName = "manifest.json"

/** Whether a folder holds every file of its manifest in its full size. */
export const isWhole = Effect.fn("isWhole")(
  function* (folder: string) {
    const fs = yield* FileSystem.FileSystem
    const text = yield* fs.readFileString(join(folder, manifestName))
    const { files } = yield* Schema.decodeEffect(Manifest)(text)
    const sizes = yield* Effect.forEach(Object.keys(files), (name) => fs.stat(join(folder, name)), { concurrency: 16 })
    return Object.values(files).every((size, index) => BigInt(size) === sizes[index]?.size)
  },
  Effect.orElseSucceed(() => false)
)

const listFiles = Effect.fn("listFiles")(function* (folder: string) {
  const fs = yield* FileSystem.FileSystem
  const files: Record<string, number> = {}
  for (const name of (yield* fs.readDirectory(folder, { recursive: true })).toSorted()) {
    const info = yield* fs.stat(join(folder, name))
    if (info.type === "File") files[name] = Number(info.size)
  }
  return files
})

const partial = (id: string | number) => `partial-${hostname()}-${id}-`

/** Removes what killed installations of this machine left in a folder. */
export const sweep = Effect.fn("sweep")(function* (folder: string) {
  const fs = yield* FileSystem.FileSystem
  for (const name of yield* fs.readDirectory(folder)) {
    if (!name.startsWith(`partial-${hostname()}-`)) continue
    const id = Number(name.slice(`partial-${hostname()}-`.length).split("-")[0])
    if (!isRunning(id)) yield* fs.remove(join(folder, name), { recursive: true, force: true })
  }
})

function isRunning(id: number): boolean {
  try {
    return process.kill(id, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}

/**
 * Fills a folder: `fill` writes into a temporary one beside it, which takes its name once all is there. What `fill` leaves
 * halfway is removed. Where another process was faster, its folder stays (unless `replace`).
 */
export const createWhole = <E, R>(
  folder: string,
  replace: boolean,
  fill: (temporary: string) => Effect.Effect<void, E, R>
) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const beside = () => join(dirname(folder), `${partial(process.pid)}${randomUUID()}`)
    const temporary = yield* Effect.acquireRelease(
      Effect.sync(beside).pipe(Effect.tap((path) => fs.makeDirectory(path, { recursive: true }))),
      (path) => fs.remove(path, { recursive: true, force: true }).pipe(Effect.ignore)
    )
    yield* fill(temporary)
    const files = yield* listFiles(temporary)
    yield* fs.writeFileString(join(temporary, manifestName), `${JSON.stringify({ files }, null, 2)}\n`)
    if (replace || !(yield* isWhole(folder))) {
      const discarded = beside()
      yield* fs.rename(folder, discarded).pipe(Effect.ignore)
      yield* fs.rename(temporary, folder).pipe(Effect.catchTag("PlatformError", (error) => keepOther(folder, error)))
      yield* fs.remove(discarded, { recursive: true, force: true })
    }
  }).pipe(Effect.scoped)

/** A rename that failed because another process put the same folder there is no failure. */
const keepOther = <E>(folder: string, error: E) =>
  Effect.flatMap(isWhole(folder), (whole) => (whole ? Effect.void : Effect.fail(error)))
