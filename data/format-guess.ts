/** Which format a folder is in, by what lies in it. */
import { join } from "node:path"
import { Effect, Schema } from "effect"
import { BOUNDING_BOX_FOLDERS } from "#data/bounding-boxes.ts"
import type { FormatName } from "#data/dataset.ts"
import { DUKE_NAME } from "#data/dukemtmc-reid.ts"
import { DatasetNotFound, type DatasetUnreadable, hasCode, isImageName, readFolder } from "#data/layout.ts"
import { MSMT17_LISTS, MSMT17_VERSIONS } from "#data/msmt17.ts"

/** No format speaks from the folder itself, but one from a folder in it. */
export class FormatUnclear extends Schema.TaggedError<FormatUnclear>()("FormatUnclear", {
  folder: Schema.String,
  inner: Schema.String,
  format: Schema.String
}) {
  override get message() {
    return `${this.inner} looks like a ${this.format} data set: name that folder, or the format of ${this.folder} by --format`
  }
}

const bothNamed = [BOUNDING_BOX_FOLDERS.train, BOUNDING_BOX_FOLDERS.gallery]
const msmtNamed: ReadonlyArray<string> = [...MSMT17_LISTS, ...MSMT17_VERSIONS.map(({ folder }) => folder)]

/** The labelled format whose folders or lists lie in a folder, if one's do. */
const layoutOf = (dir: string): Effect.Effect<FormatName | undefined, DatasetUnreadable> =>
  Effect.gen(function* () {
    const names = (yield* readFolder(dir)).map(({ name }) => name)
    if (names.some((name) => msmtNamed.includes(name))) return "msmt17"
    const folder = bothNamed.find((name) => names.includes(name))
    if (folder === undefined) return undefined
    const images = yield* readFolder(join(dir, folder)).pipe(
      Effect.map((entries) => entries.map(({ name }) => name).filter(isImageName)),
      Effect.orElseSucceed(() => [])
    )
    return images.length > 0 && images.every((name) => DUKE_NAME.test(name)) ? "dukemtmc-reid" : "market1501"
  })

/** The format that the folder's layout speaks for; without any layout, a folder of images. */
export const guessFormat = Effect.fn("guessFormat")(function* (dir: string) {
  const own = yield* layoutOf(dir).pipe(
    Effect.mapError((error) =>
      hasCode(error.cause, "ENOENT", "ENOTDIR")
        ? new DatasetNotFound({ format: "folder", folder: dir, expected: "images" })
        : error
    )
  )
  if (own !== undefined) return own
  for (const entry of yield* readFolder(dir)) {
    const inner = join(dir, entry.name)
    const format = entry.isDirectory() ? yield* layoutOf(inner) : undefined
    if (format !== undefined) return yield* new FormatUnclear({ folder: dir, inner, format })
  }
  return "folder" satisfies FormatName
})
