/**
 * What the readers of all data set formats share: the errors that a folder can raise, and the listing of the images in
 * a folder in an order that is the same on every machine.
 */
import { readdir } from "node:fs/promises"
import { join } from "node:path"
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

/**
 * The names of the images in `root/folder`, by their endings, sorted by code units. Whatever else lies there is passed
 * over: dot files (also macOS's `._0001….jpg`), Thumbs.db, texts, folders.
 */
export const listImages = Effect.fnUntraced(function* (options: {
  readonly format: string
  readonly root: string
  readonly folder: string
  readonly expected: string
}) {
  const { expected, format } = options
  const folder = join(options.root, options.folder)
  const entries = yield* Effect.tryPromise({
    try: () => readdir(folder, { withFileTypes: true }),
    catch: (cause) =>
      hasCode(cause, "ENOENT", "ENOTDIR")
        ? new DatasetNotFound({ format, folder, expected })
        : new DatasetUnreadable({ path: folder, cause })
  })
  const names = entries
    .filter((entry) => !entry.isDirectory() && !entry.name.startsWith(".") && IMAGE_ENDING.test(entry.name))
    .map((entry) => entry.name)
    .sort()
  return names.length > 0 ? names : yield* new DatasetEmpty({ format, folder, expected })
})
