/** Run files, and the names and lists of data sets. */
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { dirname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import fc from "fast-check"
import { stringify } from "yaml"
import { FORMAT_NAMES, type FormatName, openDataset } from "#data/dataset.ts"
import { canonical } from "#pipeline/manifest.ts"
import { keptRunFile, parseRunFile } from "#pipeline/run-file.ts"
import { digestOf, type Example, type Subject } from "./subject.ts"

const repository = fileURLToPath(new URL("../..", import.meta.url))

/** Those that stand on their own. */
const recipes = readdirSync(join(repository, "recipes"))
  .filter((name) => name.endsWith(".yaml"))
  .map((name): Example => ({ name, bytes: readFileSync(join(repository, "recipes", name)), structure: [] }))
  .filter(({ bytes }) => /^data:/m.test(bytes.toString()) && !/^extends:/m.test(bytes.toString()))

/** The words that recipes are made of, as keys of any values. */
const words = [...new Set(recipes.flatMap(({ bytes }) => bytes.toString().match(/^\s*\w+(?=:)/gm) ?? []))].map((word) =>
  word.trim()
)
const drawnRunFile = fc
  .object({
    key: fc.oneof(fc.constantFrom(...words, "__proto__", "extends", "branch"), fc.string()),
    maxDepth: 4,
    withBigInt: true
  })
  .map((object) => Buffer.from(stringify(object)))

/** What is accepted is kept and read again: it must be the same run. */
const readRun: Subject["read"] = (file) =>
  Effect.gen(function* () {
    const run = yield* parseRunFile(readFileSync(file, "utf8"), file)
    const again = yield* parseRunFile(keptRunFile(run, dirname(file)), file)
    // A name that stands nowhere is that of the file, and kept.
    const [first, second] = [run, again].map((one) => digestOf(canonical({ ...one, given: undefined }))) as [
      string,
      string
    ]
    if (first !== second) return yield* Effect.die(new Error("the run file that a run keeps is another run"))
    return { shape: "", values: first }
  })

/** A data set's folder as text: its format, then a path a line, with `->` a link, below `=` the text of a list. */
const listings: Readonly<Record<FormatName, string>> = {
  market1501:
    "bounding_box_train/0002_c1s1_000451_03.jpg\nbounding_box_train/-1_c1s1_000451_03.jpg\nquery/0001_c1s1_001051_00.jpg\nbounding_box_test/0001_c2s1_000301_01.jpg\nquery/Thumbs.db\n",
  "dukemtmc-reid":
    "bounding_box_train/0002_c1_f0044158.jpg\nquery/0005_c2_f0046985.jpg\nbounding_box_test/0005_c3_f0046985.jpg\nquery/link.jpg -> ../../outside.jpg\n",
  msmt17: [
    "train/0000/0000_000_01_0303morning_0008_0.jpg\ntest/0000/0000_000_02_0303noon_0008_0.jpg\ntest/0000/0000_001_05_0303noon_0008_0.jpg",
    "train/0001/0001_000_01_0303morning_0008_0.jpg",
    "list_train.txt = 0000/0000_000_01_0303morning_0008_0.jpg 0",
    "list_val.txt = 0001/0001_000_01_0303morning_0008_0.jpg 1",
    "list_query.txt = 0000/0000_000_02_0303noon_0008_0.jpg 0",
    "list_gallery.txt = 0000/0000_001_05_0303noon_0008_0.jpg 0",
    "list_gallery.txt = ../../outside.jpg 0",
    "list_query.txt = /etc/hostname 0\n"
  ].join("\n"),
  folder: "cam1/a.jpg\ncam2/b.png\ncam10/c.bmp\nc/../../x.jpg\nlink -> /etc\n"
}

const isBelow = (root: string, path: string) => !relative(root, path).startsWith("..")

/** Makes what a listing says, as far as a file system takes it, and nothing outside the folder. */
const makeFolder = (root: string, listing: string) => {
  for (const line of listing.split("\n")) {
    const [, path = "", mark, target = ""] = /^(.*?)(?: (->|=) (.*))?$/.exec(line) ?? []
    const place = join(root, path)
    if (path === "" || !isBelow(root, place) || path.includes("\0")) continue
    try {
      mkdirSync(dirname(place), { recursive: true })
      if (!isBelow(realpathSync(root), realpathSync(dirname(place)))) continue
      if (mark === "->") symlinkSync(target, place)
      else if (!lstatSync(place, { throwIfNoEntry: false })?.isSymbolicLink())
        writeFileSync(place, mark === "=" ? `${target}\n` : "", { flag: "a" })
    } catch {
      // Names too long and the like, which no disk holds.
    }
  }
}

const readNames: Subject["read"] = (file, { name }) =>
  Effect.gen(function* () {
    const root = `${file}.folder`
    mkdirSync(root, { recursive: true })
    yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(root, { recursive: true, force: true })))
    makeFolder(root, readFileSync(file, "utf8"))
    const { splits, cameraNames } = yield* openDataset(name as FormatName, root)
    const images = Object.values(splits).flat()
    const out = images.find(({ image }) => !isBelow(realpathSync(root), realpathSync(join(root, image))))
    if (out) return yield* Effect.die(new Error(`${out.image} is outside the data set`))
    const odd = images.find(
      ({ person, camera }) => !(Number.isSafeInteger(person) && person >= -1 && Number.isSafeInteger(camera))
    )
    if (odd) return yield* Effect.die(new Error(`${odd.image} is of person ${odd.person}, camera ${odd.camera}`))
    return { shape: "", values: digestOf([splits, cameraNames]) }
  })

const drawnListing = fc
  .array(
    fc.oneof(
      fc.string({ unit: "grapheme", maxLength: 60 }),
      fc.constantFrom(...Object.values(listings).flatMap((text) => text.split("\n"))),
      fc
        .tuple(fc.constantFrom("bounding_box_train", "query", "bounding_box_test"), fc.integer(), fc.integer())
        .map(([folder, person, camera]) => `${folder}/${person}_c${camera}s1_000451_03.jpg`)
    ),
    { maxLength: 12 }
  )
  .map((lines) => Buffer.from(lines.join("\n")))

export const textSubjects: ReadonlyArray<Subject> = [
  { name: "run file", ending: ".yaml", examples: recipes, drawn: drawnRunFile, read: readRun, unnoticed: "anything" },
  {
    name: "file names",
    ending: ".listing",
    examples: FORMAT_NAMES.map((name) => ({
      isRefused: true,
      name,
      bytes: Buffer.from(listings[name]),
      structure: []
    })),
    drawn: drawnListing,
    read: readNames,
    unnoticed: "anything"
  }
]
