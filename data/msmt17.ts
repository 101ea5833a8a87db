/**
 * MSMT17, both versions: images below `train` and `test` (V2, with faces blurred: `mask_train_v2` and `mask_test_v2`),
 * named by `list_train.txt`, `list_val.txt`, `list_query.txt` and `list_gallery.txt`.
 * Wei et al., "Person Transfer GAN to Bridge Domain Gap for Person Re-Identification", CVPR 2018.
 */
import { readFile } from "node:fs/promises"
import { basename, dirname, isAbsolute, join, posix } from "node:path"
import { Effect, Schema } from "effect"
import type { DatasetFormat, ImageEntry } from "#data/dataset.ts"
import {
  checkLinks,
  DatasetNotFound,
  DatasetUnreadable,
  hasCode,
  isImageName,
  PathOutside,
  readFolder,
  resolveInside
} from "#data/layout.ts"

/** A list is missing or empty, or one of its lines does not name an image with its person. */
export class ListInvalid extends Schema.TaggedError<ListInvalid>()("ListInvalid", {
  list: Schema.String,
  /** From 1; 0 where it is the whole list. */
  line: Schema.Int,
  problem: Schema.String
}) {
  override get message() {
    return `${this.list}${this.line > 0 ? `, line ${this.line}` : ""}: ${this.problem}`
  }
}

/** The folder holds both versions, and nothing says which of them is meant. */
export class VersionUnclear extends Schema.TaggedError<VersionUnclear>()("VersionUnclear", {
  root: Schema.String,
  versions: Schema.Array(Schema.String)
}) {
  override get message() {
    return `${this.root} holds ${this.versions.join(" and ")}: name the folder of one of them`
  }
}

interface Version {
  readonly folder: string
  readonly train: string
  readonly test: string
}

/** The folders of each version, by which one can be told from the other. */
export const MSMT17_VERSIONS: ReadonlyArray<Version> = [
  { folder: "MSMT17_V1", train: "train", test: "test" },
  { folder: "MSMT17_V2", train: "mask_train_v2", test: "mask_test_v2" }
]

export const MSMT17_LISTS = ["list_train.txt", "list_val.txt", "list_query.txt", "list_gallery.txt"] as const

const format = "msmt17"
const example = "0000/0000_000_01_0303morning_0008_0.jpg 0"

const namesIn = (folder: string, expected: string) =>
  readFolder(folder).pipe(
    Effect.map((entries) => entries.map(({ name }) => name)),
    Effect.mapError((error) =>
      hasCode(error.cause, "ENOENT", "ENOTDIR") ? new DatasetNotFound({ format, folder, expected }) : error
    )
  )

/** Where the lists lie below the root (in it, or in the folder of the one version that is there), and its image folders. */
const findVersion = Effect.fnUntraced(function* (root: string) {
  const expected = "MSMT17_V1 or MSMT17_V2, or the lists and images of one of them,"
  const names = yield* namesIn(root, expected)
  const versions = MSMT17_VERSIONS.map(({ folder }) => folder).filter((folder) => names.includes(folder))
  const isVersion = MSMT17_LISTS.some((list) => names.includes(list))
  if (!isVersion && versions.length > 1) return yield* new VersionUnclear({ root, versions })
  if (!isVersion && versions.length === 0)
    return yield* new DatasetNotFound({ format, folder: join(root, "MSMT17_V1"), expected: "its lists and images" })
  const base = isVersion ? "" : versions[0]!
  const inside = yield* namesIn(join(root, base), expected)
  const version = MSMT17_VERSIONS.find(({ train }) => inside.includes(train))
  if (version === undefined)
    return yield* new DatasetNotFound({
      format,
      folder: join(root, base, "train"),
      expected: "the training images (of V2, in mask_train_v2)"
    })
  return { base, ...version }
})

interface ListedImage extends ImageEntry {
  readonly list: string
  readonly line: number
}

/** A line's path below the images' folder and its person, or what is wrong with it. */
const parseLine = (
  text: string
): { readonly path: string; readonly label: number; readonly camera: number } | string => {
  const [path = "", label = "", ...more] = text.split(/[ \t]+/)
  if (label === "" || more.length > 0)
    return `expected a path and a person, as "${example}", found ${JSON.stringify(text)}`
  if (!/^\d{1,9}$/.test(label)) return `expected a person's number from 0 on in the second column, found "${label}"`
  if (path.includes("\\") || posix.normalize(path) !== path)
    return `expected a plain path as ${example.split(" ")[0]}, found ${path}`
  const camera = /^\d+_\d+_(\d{1,9})_/.exec(basename(path))?.[1]
  if (camera === undefined || !isImageName(basename(path)))
    return `the name of ${path} does not tell the camera; names look like PERSON_NUMBER_CAMERA_…, as ${example.split(" ")[0]}`
  return { path, label: Number(label), camera: Number(camera) }
}

/** The images that a list names, in its order. Neither a path that leaves `folder` nor one that comes twice is taken. */
const readList = Effect.fnUntraced(function* (root: string, base: string, name: string, folder: string) {
  const list = join(root, base, name)
  const text = yield* Effect.tryPromise({
    try: async () => readFile(list, "utf8"),
    catch: (cause) =>
      hasCode(cause, "ENOENT")
        ? new ListInvalid({ list, line: 0, problem: `there is no such file; ${format} lists its images there` })
        : new DatasetUnreadable({ path: list, cause })
  })
  yield* resolveInside(root, list)
  const images: Array<ListedImage> = []
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/)
  for (const [at, whole] of lines.entries()) {
    const line = at + 1
    const own = whole.trim()
    if (own === "") continue
    const path = own.split(/[ \t]+/)[0]!
    if (isAbsolute(path) || posix.normalize(path).startsWith("../"))
      return yield* new PathOutside({ root: join(root, base, folder), path: `${list}, line ${line}`, leadsTo: path })
    const parsed = parseLine(own)
    if (typeof parsed === "string") return yield* new ListInvalid({ list, line, problem: parsed })
    // Persons count from 0 in the lists, but 0 are distractors everywhere else.
    const image = posix.join(base, folder, parsed.path)
    images.push({ image, person: parsed.label + 1, camera: parsed.camera, list, line })
  }
  if (images.length === 0) return yield* new ListInvalid({ list, line: 0, problem: "it names no images" })
  return images
})

const placeOf = ({ list, line }: ListedImage) => `${basename(list)}, line ${line}`

/** Fails where an image is named twice, or the images of one person, by their names, have two labels. */
const checkAgreement = Effect.fnUntraced(function* (images: ReadonlyArray<ListedImage>, once: boolean) {
  const byPath = new Map<string, ListedImage>()
  const byPerson = new Map<string, ListedImage>()
  for (const entry of images) {
    const { image, person, list, line } = entry
    const twin = byPath.get(image)
    if (once && twin)
      return yield* new ListInvalid({ list, line, problem: `${image} is named already in ${placeOf(twin)}` })
    byPath.set(image, entry)
    const named = basename(image).split("_")[0]!
    const other = byPerson.get(named)
    if (other && other.person !== person) {
      const problem = `person ${named} of ${image} has label ${person - 1}, but label ${other.person - 1} in ${placeOf(other)}`
      return yield* new ListInvalid({ list, line, problem })
    }
    byPerson.set(named, entry)
  }
})

/** Fails where a list names an image that is not there. A folder of images is read once, not each file asked for. */
const checkFiles = Effect.fnUntraced(function* (root: string, images: ReadonlyArray<ListedImage>) {
  const there = yield* Effect.forEach(
    Map.groupBy(images, ({ image }) => dirname(image)),
    ([folder, listed]) =>
      Effect.gen(function* () {
        const path = join(root, folder)
        const found = yield* readFolder(path).pipe(
          Effect.catch((error) =>
            hasCode(error.cause, "ENOENT", "ENOTDIR") ? Effect.succeed(undefined) : Effect.fail(error)
          )
        )
        if (found === undefined) return []
        yield* resolveInside(root, path)
        const wanted = new Set(listed.map(({ image }) => basename(image)))
        const entries = found.filter((entry) => wanted.has(entry.name) && !entry.isDirectory())
        yield* checkLinks(root, path, entries)
        return entries.map(({ name }) => `${folder}/${name}`)
      }),
    { concurrency: 16 }
  )
  const files = new Set(there.flat())
  const missing = images.filter(({ image }) => !files.has(image))
  const [first] = missing
  if (first === undefined) return
  const more = missing.length > 1 ? `, nor ${missing.length - 1} others that the lists name` : ""
  return yield* new ListInvalid({
    list: first.list,
    line: first.line,
    problem: `there is no file ${join(root, first.image)}${more}; was the archive unpacked to its end?`
  })
})

const entriesOf = (images: ReadonlyArray<ListedImage>): ReadonlyArray<ImageEntry> =>
  images.map(({ image, person, camera }) => ({ image, person, camera })).sort((a, b) => (a.image < b.image ? -1 : 1))

/**
 * The reader. The root is the folder of one version or the one that holds it. Training images are those of `list_train.txt`
 * and `list_val.txt`, as OpenUnReID (`trainval`) and the original MMT code take them and as the published 32,621 count;
 * torchreid and fast-reid leave out the 2,373 of `list_val.txt` unless told otherwise. `person` is the list's label + 1,
 * because 0 stands for distractors; the camera is the third number of a file's name. Every line is checked.
 */
export const msmt17: DatasetFormat = {
  title: "MSMT17",
  labelled: true,
  read: Effect.fn("msmt17.read")(function* (root: string) {
    const { base, train, test } = yield* findVersion(root)
    const training = [
      ...(yield* readList(root, base, "list_train.txt", train)),
      ...(yield* readList(root, base, "list_val.txt", train))
    ]
    const query = yield* readList(root, base, "list_query.txt", test)
    const gallery = yield* readList(root, base, "list_gallery.txt", test)
    for (const images of [training, query, gallery]) yield* checkAgreement(images, true)
    yield* checkAgreement([...query, ...gallery], false)
    yield* checkFiles(root, [...training, ...query, ...gallery])
    const splits = { train: entriesOf(training), query: entriesOf(query), gallery: entriesOf(gallery) }
    return { format, root, splits, junkLeftOut: 0 }
  }),
  published: {
    train: { images: 32_621, identities: 1_041, junk: 0 },
    query: { images: 11_659, identities: 3_060, junk: 0 },
    gallery: { images: 82_161, identities: 3_060, junk: 0 }
  }
}
