/**
 * Sets up the engine: TensorFlow's libraries out of pinned wheels, the addons compiled against them, both in a cache that all
 * clones of the user share, and the link through which tfjs-node finds them.
 */
import { mkdirSync, statfsSync } from "node:fs"
import { dirname, join } from "node:path"
import { Effect, FileSystem, Schema } from "effect"
import { buildAddons } from "#engine/addon/build.ts"
import { addonFolder, bindingLink, cacheFolder, type Flavour, libraryFolder, readAddonFolder } from "#engine/layout.ts"
import { wheels } from "#engine/pins.ts"
import { createWhole, isWhole, sweep } from "#engine/store.ts"
import { requireTools } from "#engine/tool.ts"
import { downloadWheel, unpackWheel } from "#engine/wheel.ts"

/** TensorFlow's libraries exist for another platform only. */
export class UnsupportedPlatform extends Schema.TaggedError<UnsupportedPlatform>()("UnsupportedPlatform", {
  platform: Schema.String
}) {
  override get message() {
    return `TensorFlow can be set up on linux x64 only, and this is ${this.platform}: use a Linux machine, container or WSL 2.`
  }
}

/** The cache (or, for `clone`, this clone's `node_modules`) cannot be written, or has no room. */
export class FolderUnusable extends Schema.TaggedError<FolderUnusable>()("FolderUnusable", {
  place: Schema.Literals(["cache", "clone"]),
  folder: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    const other = ", or name another cache folder: `XDG_CACHE_HOME=FOLDER npm run -s mmt -- engine install`"
    return `TensorFlow cannot be set up in ${this.folder}: ${this.detail}.\nMake room or give rights there${this.place === "cache" ? other : ""}.`
  }
}

/** A moment of the installation: what is going on with what and, of a download, how many bytes of how many are there. */
export type InstallProgress =
  | { readonly task: "download"; readonly label: string; readonly done: number; readonly total: number }
  | { readonly task: "unpack" | "compile"; readonly label: string }

/** What is set up, and what that took: all of it (`fresh`), only this clone's link (`linked`), or nothing. */
export interface Installation {
  readonly flavour: Flavour
  readonly folder: string
  readonly state: "fresh" | "linked" | "unchanged"
}

/** What to set up. */
export interface InstallOptions {
  /** With CUDA or without; by default what this clone has, and without in a new one. */
  readonly cuda?: boolean
  /** Makes all anew, though it looks whole. */
  readonly force?: boolean
  readonly onProgress?: (progress: InstallProgress) => void
  /** The cache; by default the user's. */
  readonly cache?: string
  /** Where tfjs-node looks for its addon; by default in this clone's `node_modules`. */
  readonly link?: string
}

type Report = (progress: InstallProgress) => void

// Room for the unpacked libraries and the largest wheel beside them, in bytes.
const room: Readonly<Record<Flavour, number>> = { cpu: 1.2e9, cuda: 8e9 }

const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`

const prepareCache = (cache: string, bytes: number) =>
  Effect.try({
    try: () => {
      mkdirSync(cache, { recursive: true })
      const { bavail, bsize } = statfsSync(cache)
      return bavail * bsize
    },
    catch: (error) => new FolderUnusable({ place: "cache", folder: cache, detail: (error as Error).message })
  }).pipe(
    Effect.filterOrFail(
      (free) => free >= bytes,
      (free) => {
        const detail = `it needs ${gigabytes(bytes)} and ${gigabytes(free)} are free`
        return new FolderUnusable({ place: "cache", folder: cache, detail })
      }
    )
  )

const installLibraries = (flavour: Flavour, folder: string, replace: boolean, report: Report) =>
  createWhole(folder, replace, (temporary) =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      for (const wheel of wheels[flavour]) {
        const label = `${wheel.project} ${wheel.version}`
        const downloads = join(temporary, "download")
        yield* fs.makeDirectory(downloads)
        const onBytes = (bytes: number) => report({ task: "download", label, done: bytes, total: wheel.size })
        const file = yield* downloadWheel(wheel, downloads, onBytes)
        report({ task: "unpack", label })
        yield* unpackWheel(wheel, file, temporary)
        yield* fs.remove(downloads, { recursive: true })
      }
    })
  )

/** Points tfjs-node's addon path at the cache, in one step. */
const placeLink = Effect.fn("placeLink")(
  function* (target: string, link: string) {
    const fs = yield* FileSystem.FileSystem
    const temporary = `${link}.${process.pid}`
    yield* fs.makeDirectory(dirname(link), { recursive: true })
    yield* fs.remove(temporary, { force: true })
    yield* fs.symlink(target, temporary)
    yield* fs.rename(temporary, link)
  },
  (effect, _target, link) =>
    Effect.catchTag(effect, "PlatformError", (error) =>
      Effect.fail(new FolderUnusable({ place: "clone", folder: dirname(link), detail: error.message }))
    )
)

const linkTarget = Effect.fn("linkTarget")(function* (link: string) {
  const fs = yield* FileSystem.FileSystem
  return yield* fs.readLink(link).pipe(Effect.orElseSucceed(() => undefined))
})

const install = Effect.fn("installEngine")(function* (options: InstallOptions, cache: string) {
  const { link = bindingLink, force = false, onProgress = () => {} } = options
  if (process.platform !== "linux" || process.arch !== "x64") {
    return yield* new UnsupportedPlatform({ platform: `${process.platform} ${process.arch}` })
  }
  const linked = yield* linkTarget(link)
  const flavour = flavourOf(options.cuda, linked)
  const libraries = libraryFolder(flavour, cache)
  const addon = addonFolder(flavour, cache)
  const target = join(addon, "tfjs_binding.node")

  const librariesWhole = !force && (yield* isWhole(libraries))
  const addonWhole = !force && (yield* isWhole(addon))
  if (!librariesWhole || !addonWhole) {
    yield* prepareCache(cache, librariesWhole ? 0 : room[flavour])
    yield* requireTools
  }
  yield* sweep(cache)
  if (!librariesWhole) yield* installLibraries(flavour, libraries, force, onProgress)
  if (!addonWhole) {
    onProgress({ task: "compile", label: "the TensorFlow addon" })
    yield* createWhole(addon, force, (temporary) => buildAddons(flavour, cache, temporary))
  }
  if (linked !== target) yield* placeLink(target, link)
  const state = librariesWhole && addonWhole ? (linked === target ? "unchanged" : "linked") : "fresh"
  const installation: Installation = { flavour, folder: libraries, state }
  return installation
})

/**
 * Sets up TensorFlow for this clone. What is whole is left alone, so a second call takes milliseconds, and another clone's
 * call only places its link. A call may be killed at any time, and several may run at once.
 */
export const installEngine = (options: InstallOptions = {}) => {
  const cache = options.cache ?? cacheFolder()
  return install(options, cache).pipe(
    Effect.catchTag("PlatformError", (error) =>
      Effect.fail(new FolderUnusable({ place: "cache", folder: cache, detail: error.message }))
    )
  )
}

function flavourOf(cuda: boolean | undefined, linked: string | undefined): Flavour {
  if (cuda !== undefined) return cuda ? "cuda" : "cpu"
  return (linked === undefined ? undefined : readAddonFolder(dirname(linked))?.flavour) ?? "cpu"
}
