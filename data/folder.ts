/**
 * Any folder of images without labels, as a target: one's own cameras. Nothing of it can be scored. A camera is a
 * sub-folder, or what a pattern finds in an image's path.
 */
import { stat } from "node:fs/promises"
import { join } from "node:path"
import { createContext, Script } from "node:vm"
import { Effect, Schema } from "effect"
import type { DatasetFormat } from "#data/dataset.ts"
import {
  DatasetEmpty,
  DatasetNotFound,
  DatasetUnreadable,
  hasCode,
  isImageName,
  readFolder,
  resolveInside
} from "#data/layout.ts"

/** What is wrong with a pattern, if anything: it must compile and have a group `camera`. */
const patternProblem = (pattern: string): string | undefined => {
  try {
    // Matches nothing at once, and knows the names of all groups.
    const groups = new RegExp(`${pattern}|`, "u").exec("")?.groups
    return groups !== undefined && "camera" in groups
      ? undefined
      : 'expected a regular expression with a group (?<camera>…), as "^cam(?<camera>[0-9]+)/"'
  } catch (cause) {
    return `expected a regular expression; ${(cause as Error).message}`
  }
}

/** A regular expression whose group `camera` finds the camera in an image's path below the data set's folder. */
export const CameraPattern = Schema.NonEmptyString.check(
  Schema.makeFilter((pattern) => patternProblem(pattern) ?? true)
)

/** A pattern that does not find the camera in every path, or takes too long to. */
export class CameraUnknown extends Schema.TaggedError<CameraUnknown>()("CameraUnknown", {
  image: Schema.String,
  pattern: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `${this.image}: cameraPattern ${this.pattern} ${this.problem}\nchange the pattern, or leave it out: each sub-folder is a camera then`
  }
}

/** Paths that are matched at a time, and the milliseconds they have: two thousand times what a usual pattern takes. */
const pathsAtATime = 1000
const patternMillis = 1000

const matching = new Script(`
  for (const path of paths) cameras.push(expression.exec(path)?.groups.camera)
`)

/** The camera's name in each path. In a context a pattern that backtracks without end is stopped, which it is nowhere else. */
const matchCameras = Effect.fnUntraced(function* (pattern: string, root: string, paths: ReadonlyArray<string>) {
  const cameras: Array<string | undefined> = []
  const fail = (image: string, problem: string) => new CameraUnknown({ image: join(root, image), pattern, problem })
  const context = createContext({ cameras, expression: new RegExp(pattern, "u"), paths: [] })
  for (let start = 0; start < paths.length; start += pathsAtATime)
    yield* Effect.try({
      try: () => {
        context.paths = paths.slice(start, start + pathsAtATime)
        matching.runInContext(context, { timeout: patternMillis })
      },
      catch: (cause) => {
        const { code, message } = cause as NodeJS.ErrnoException
        const problem =
          code === "ERR_SCRIPT_EXECUTION_TIMEOUT" ? "takes too long to search this path" : `cannot be used: ${message}`
        return fail(paths[cameras.length]!, problem)
      }
    })
  const without = paths.filter((_, i) => !cameras[i])
  return without.length > 0
    ? yield* fail(without[0]!, `finds no camera in its path (so in ${without.length} of ${paths.length} images)`)
    : (cameras as ReadonlyArray<string>)
})

/** Paths of all images below a folder. A link to a file is taken, one to a folder is not: what it leads to is found where it lies. */
const imagesBelow = (root: string, folder: string): Effect.Effect<ReadonlyArray<string>, FolderError> =>
  Effect.gen(function* () {
    const path = join(root, folder)
    const below = (name: string) => (folder === "" ? name : `${folder}/${name}`)
    const entries = (yield* readFolder(path)).filter(({ name }) => !name.startsWith("."))
    const found = yield* Effect.forEach(
      entries,
      (entry) =>
        Effect.gen(function* () {
          if (entry.isDirectory()) return yield* imagesBelow(root, below(entry.name))
          if (!entry.isSymbolicLink()) return isImageName(entry.name) ? [below(entry.name)] : []
          const link = join(path, entry.name)
          const isFolder = yield* Effect.promise(() =>
            stat(link).then(
              (found) => found.isDirectory(),
              () => false
            )
          )
          if (isFolder || isImageName(entry.name)) yield* resolveInside(root, link)
          return !isFolder && isImageName(entry.name) ? [below(entry.name)] : []
        }),
      { concurrency: 8 }
    )
    return found.flat()
  })

type FolderError = Effect.Error<ReturnType<typeof resolveInside>>

/** How a camera without a name is called: that of images which lie in no sub-folder. */
const unnamed = "."

/** Numbers of the cameras by name: the names themselves where all are numbers, else from 1 in their order. */
const numbersOf = (names: ReadonlyArray<string>): ReadonlyMap<string, number> => {
  const sorted = [...new Set(names)].sort()
  const areNumbers = sorted.every((name) => /^\d{1,9}$/.test(name))
  return new Map(sorted.map((name, i) => [name, areNumbers ? Number(name) : i + 1]))
}

/**
 * The reader: every image below the root is a training image of an unknown person (−1), sorted by path in code units;
 * there are no queries and no gallery. The camera is the first sub-folder of an image's path, or what the group `camera`
 * of `cameraPattern` finds in the path (with `/`, from the root on). Cameras keep their numbers where all names of them are
 * numbers, and are counted from 1 in their names' order otherwise; `cameraNames` tells which is which.
 */
export const folder: DatasetFormat = {
  title: "folder of images",
  labelled: false,
  read: Effect.fn("folder.read")(function* (root: string, { cameraPattern }) {
    const images = [
      ...(yield* imagesBelow(root, "").pipe(
        Effect.mapError((error) =>
          error instanceof DatasetUnreadable && error.path === root && hasCode(error.cause, "ENOENT", "ENOTDIR")
            ? new DatasetNotFound({ format: "folder", folder: root, expected: "images" })
            : error
        )
      ))
    ].sort()
    if (images.length === 0) return yield* new DatasetEmpty({ format: "folder", folder: root, expected: "images" })
    const names = cameraPattern
      ? yield* matchCameras(cameraPattern, root, images)
      : images.map((image) => (image.includes("/") ? image.slice(0, image.indexOf("/")) : unnamed))
    const numbers = numbersOf(names)
    const train = images.map((image, i) => ({ image, person: -1, camera: numbers.get(names[i]!)! }))
    const cameraNames = new Map([...numbers].map(([name, camera]) => [camera, name]))
    return { format: "folder", root, splits: { train, query: [], gallery: [] }, junkLeftOut: 0, cameraNames }
  })
}
