/**
 * What the readers of all data set formats share: the errors that a folder can raise, and the listing of the images in
 * a folder in an order that is the same on every machine, without leaving the data set's own folder.
 */
import type { Dirent } from "node:fs"
import { readdir, realpath } from "node:fs/promises"
import { isAbsolute, join, relative, sep } from "node:path"
import { Effect, Schema } from "effect"

/** A folder of the format's layout is not there. */
export class DatasetNotFound extends Schema.TaggedError<DatasetNotFound>()("DatasetNotFound", {
  format: Schema.String,
  folder: Schema.String,
  expected: Schema.String
}) {
  override get message() {
    return `no folder ${this.folder}: a ${this.format} data set keeps ${this.expected} there\nname the folder that directly holds the data set's own folders, or another format`
  }
}

/** A folder or file is there but cannot be read. */
export class DatasetUnreadable extends Schema.TaggedError<DatasetUnreadable>()("DatasetUnreadable", {
  path: Schema.String,
  cause: Schema.Defect()
}) {
  override get message() {
    return `cannot read ${this.path}: ${this.cause instanceof Error ? this.cause.message : String(this.cause)}`
  }
}

/** An image whose name does not tell person and camera. */
export class ImageNameInvalid extends Schema.TaggedError<ImageNameInvalid>()("ImageNameInvalid", {
  format: Schema.String,
  folder: Schema.String,
  file: Schema.String,
  expected: Schema.String
}) {
  override get message() {
    return `${join(this.folder, this.file)}: the name does not tell person and camera; ${this.format} names look like ${this.expected}\nrename the image, or move it out of the folder`
  }
}

/** A folder of the layout is there but holds no image of a person. */
export class DatasetEmpty extends Schema.TaggedError<DatasetEmpty>()("DatasetEmpty", {
  format: Schema.String,
  folder: Schema.String,
  expected: Schema.String
}) {
  override get message() {
    return `${this.folder} holds no images: a ${this.format} data set keeps ${this.expected} there (.jpg, .jpeg, .png or .bmp)\nwas the archive unpacked to its end?`
  }
}

const IMAGE_ENDING = /\.(jpe?g|png|bmp)$/i

/** Whether this is the file system's refusal with one of these codes, as `ENOENT`. */
export const hasCode = (cause: unknown, ...codes: ReadonlyArray<string>): boolean =>
  cause instanceof Error && "code" in cause && codes.includes(String(cause.code))

/** A path below the data set's folder leads out of it. */
export class PathOutside extends Schema.TaggedError<PathOutside>()("PathOutside", {
  root: Schema.String,
  /** Where the path was found: a link, or the line of a list. */
  path: Schema.String,
  leadsTo: Schema.String
}) {
  override get message() {
    return `${this.path} leads to ${this.leadsTo}, which is outside the data set's folder ${this.root}\nnothing outside that folder is read: copy what is linked into it, or name a folder that holds both`
  }
}

const unreadable = (path: string) => (cause: unknown) => new DatasetUnreadable({ path, cause })

const isInside = (folder: string, path: string) => {
  const way = relative(folder, path)
  return way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way)
}

/** Where a path really lies, links followed; fails where that is outside `root`. */
export const resolveInside = Effect.fnUntraced(function* (root: string, path: string) {
  const [home, place] = yield* Effect.tryPromise({
    try: () => Promise.all([realpath(root), realpath(path)]),
    catch: unreadable(path)
  })
  return isInside(home, place) ? place : yield* new PathOutside({ root, path, leadsTo: place })
})

/** Whether a name is an image's by its ending. Dot files are none, macOS's `._0001….jpg` among them. */
export const isImageName = (name: string): boolean => !name.startsWith(".") && IMAGE_ENDING.test(name)

/** What lies in a folder, in no order; a link among it may lead anywhere. */
export const readFolder = (folder: string): Effect.Effect<ReadonlyArray<Dirent>, DatasetUnreadable> =>
  Effect.tryPromise({ try: () => readdir(folder, { withFileTypes: true }), catch: unreadable(folder) })

/** Fails where one of these entries of a folder is a link that leads out of the data set. */
export const checkLinks = (root: string, folder: string, entries: ReadonlyArray<Dirent>) =>
  Effect.forEach(
    entries.filter((entry) => entry.isSymbolicLink()),
    ({ name }) => resolveInside(root, join(folder, name)),
    { concurrency: 16, discard: true }
  )

/**
 * The names of the images in `root/folder`, by their endings, sorted by code units. Whatever else lies there is passed
 * over: dot files, Thumbs.db, texts, folders.
 */
export const listImages = Effect.fnUntraced(function* (options: {
  readonly format: string
  readonly root: string
  readonly folder: string
  readonly expected: string
}) {
  const { expected, format, root } = options
  const folder = join(root, options.folder)
  const all = yield* readFolder(folder).pipe(
    Effect.mapError((error) =>
      hasCode(error.cause, "ENOENT", "ENOTDIR") ? new DatasetNotFound({ format, folder, expected }) : error
    )
  )
  yield* resolveInside(root, folder)
  const entries = all.filter((entry) => !entry.isDirectory() && isImageName(entry.name))
  yield* checkLinks(root, folder, entries)
  const names = entries.map(({ name }) => name).sort()
  return names.length > 0 ? names : yield* new DatasetEmpty({ format, folder, expected })
})
