/**
 * The layout that Market-1501 brought and DukeMTMC-reID took over: folders `bounding_box_train`, `query` and
 * `bounding_box_test`, whose images tell person and camera by their names.
 */
import { join } from "node:path"
import { Effect } from "effect"
import type { DatasetFormat, ImageEntry, Split } from "#data/dataset.ts"
import { DatasetEmpty, ImageNameInvalid, listImages } from "#data/layout.ts"

/** The folder of each split. */
export const BOUNDING_BOX_FOLDERS: Readonly<Record<Split, string>> = {
  train: "bounding_box_train",
  query: "query",
  gallery: "bounding_box_test"
}

const EXPECTED: Readonly<Record<Split, string>> = {
  train: "the training images",
  query: "the query images",
  gallery: "the gallery images"
}

/** How a data set of this layout names its images. */
export interface BoundingBoxNames {
  /** As run files write the format. */
  readonly format: string
  /** Its first group is the person (−1 junk, 0 distractor), its second the camera. */
  readonly name: RegExp
  /** The names in words and by an example, for error texts. */
  readonly pattern: string
}

const readSplit = Effect.fnUntraced(function* (
  { format, name, pattern }: BoundingBoxNames,
  root: string,
  split: Split
) {
  const folder = BOUNDING_BOX_FOLDERS[split]
  const files = yield* listImages({ format, root, folder, expected: EXPECTED[split] })
  const entries: Array<ImageEntry> = []
  for (const file of files) {
    const match = name.exec(file)
    if (match === null)
      return yield* new ImageNameInvalid({ format, folder: join(root, folder), file, expected: pattern })
    entries.push({ image: `${folder}/${file}`, person: Number(match[1]), camera: Number(match[2]) })
  }
  return entries
})

/**
 * Reads a data set of this layout. Junk (−1) is left out of the training images, as the reference readers do, and counted
 * in `junkLeftOut`; query and gallery list all their images, junk too: a ranking drops those first. Distractors (0) stay
 * and count as wrong.
 */
export const readBoundingBoxes = (names: BoundingBoxNames): DatasetFormat["read"] =>
  Effect.fn(`${names.format}.read`)(function* (root: string) {
    const { format } = names
    const train = yield* readSplit(names, root, "train")
    const query = yield* readSplit(names, root, "query")
    const gallery = yield* readSplit(names, root, "gallery")
    const people = train.filter((entry) => entry.person !== -1)
    if (people.length === 0)
      return yield* new DatasetEmpty({
        format,
        folder: join(root, BOUNDING_BOX_FOLDERS.train),
        expected: `${EXPECTED.train}, not junk (-1) alone,`
      })
    return { format, root, splits: { train: people, query, gallery }, junkLeftOut: train.length - people.length }
  })
