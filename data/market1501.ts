/**
 * Market-1501's layout: folders `bounding_box_train`, `query` and `bounding_box_test`, names `0002_c1s1_000451_03.jpg`.
 * Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015.
 */
import { join } from "node:path"
import { Effect } from "effect"
import type { DatasetFormat, ImageEntry, Split } from "#data/dataset.ts"
import { DatasetEmpty, ImageNameInvalid, listImages } from "#data/layout.ts"

/** The folder of each split. */
export const MARKET_1501_FOLDERS: Readonly<Record<Split, string>> = {
  train: "bounding_box_train",
  query: "query",
  gallery: "bounding_box_test"
}

const EXPECTED: Readonly<Record<Split, string>> = {
  train: "the training images",
  query: "the query images",
  gallery: "the gallery images"
}

/** Person (−1 junk, 0 distractor), then camera; sequence, frame and box follow in the original and are not needed. */
const NAME = /^(-1|\d{1,9})_c(\d{1,9})(?=\D)/

const PATTERN = "PERSON_cCAMERA…, as 0002_c1s1_000451_03.jpg or -1_c1s1_000401_03.jpg (junk)"

const readSplit = Effect.fnUntraced(function* (root: string, split: Split) {
  const folder = MARKET_1501_FOLDERS[split]
  const names = yield* listImages({ format: "market1501", root, folder, expected: EXPECTED[split] })
  const entries: Array<ImageEntry> = []
  for (const file of names) {
    const match = NAME.exec(file)
    if (match === null)
      return yield* new ImageNameInvalid({
        format: "market1501",
        folder: join(root, folder),
        file,
        expected: PATTERN
      })
    entries.push({ image: `${folder}/${file}`, person: Number(match[1]), camera: Number(match[2]) })
  }
  return entries
})

/**
 * The reader. Junk (−1) is left out of the training images, as the reference readers do, and counted in `junkLeftOut`;
 * query and gallery list all their images, junk too: a ranking drops those first. Distractors (0) stay and count as wrong.
 */
export const market1501: DatasetFormat = {
  name: "market1501",
  title: "Market-1501",
  read: Effect.fn("market1501.read")(function* (root: string) {
    const train = yield* readSplit(root, "train")
    const query = yield* readSplit(root, "query")
    const gallery = yield* readSplit(root, "gallery")
    const people = train.filter((entry) => entry.person !== -1)
    if (people.length === 0)
      return yield* new DatasetEmpty({
        format: "market1501",
        folder: join(root, MARKET_1501_FOLDERS.train),
        expected: `${EXPECTED.train}, not junk (-1) alone,`
      })
    return {
      format: "market1501",
      root,
      splits: { train: people, query, gallery },
      junkLeftOut: train.length - people.length
    }
  }),
  // 19,732 images in the gallery's folder, 15,913 of them not junk.
  published: {
    train: { images: 12_936, identities: 751, junk: 0 },
    query: { images: 3_368, identities: 750, junk: 0 },
    gallery: { images: 19_732, identities: 750, junk: 3_819 }
  }
}
