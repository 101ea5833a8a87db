/**
 * The contract of a data set: three splits of images, each with its person and camera; the formats that can be read, and
 * the statistics of any of them. A new format is a `DatasetFormat` in its own file and a line in `FORMATS`.
 */
import { Effect, Schema } from "effect"
import type { DatasetEmpty, DatasetNotFound, DatasetUnreadable, ImageNameInvalid } from "#data/layout.ts"
import { market1501 } from "#data/market1501.ts"

/** One image of a data set. */
export interface ImageEntry {
  /** Path relative to the data set's root, with `/`. */
  readonly image: string
  /** Identity; −1 junk or unknown, 0 distractor. */
  readonly person: number
  readonly camera: number
}

export type Split = "train" | "query" | "gallery"

/** The splits in the order in which they are listed and printed. */
export const SPLITS: ReadonlyArray<Split> = ["train", "query", "gallery"]

/** A data set whose folders have been read; its images have not. */
export interface Dataset {
  readonly format: string
  readonly root: string
  /** Each sorted by file name in code units. */
  readonly splits: Readonly<Record<Split, ReadonlyArray<ImageEntry>>>
  /** Junk images that lie in the training folder and are not listed in `splits.train`. */
  readonly junkLeftOut: number
}

/** What the authors of a data set say is in it. `images` counts the junk too, `identities` neither junk nor distractors. */
export type PublishedCounts = Readonly<
  Record<Split, { readonly images: number; readonly identities: number; readonly junk: number }>
>

/** A data set's layout on disk. */
export interface DatasetFormat {
  /** As run files and `--format` write it. */
  readonly name: string
  /** As papers write it. */
  readonly title: string
  readonly read: (root: string) => Effect.Effect<Dataset, DatasetError>
  readonly published?: PublishedCounts
}

/** A format that no reader knows. */
export class DatasetFormatUnknown extends Schema.TaggedError<DatasetFormatUnknown>()("DatasetFormatUnknown", {
  format: Schema.String,
  known: Schema.Array(Schema.String)
}) {
  override get message() {
    return `unknown data set format "${this.format}"; known: ${this.known.join(", ")}`
  }
}

/** All that can go wrong in opening a data set. */
export type DatasetError = DatasetFormatUnknown | DatasetNotFound | DatasetUnreadable | ImageNameInvalid | DatasetEmpty

/** The formats that can be read, by name. */
export const FORMATS: Readonly<Record<string, DatasetFormat>> = { market1501 }

/**
 * Reads the folders of the data set at `root` in the given format. Fails when the format is unknown, a folder is missing,
 * unreadable or empty, or an image's name does not tell person and camera.
 */
export const openDataset = (format: string, root: string): Effect.Effect<Dataset, DatasetError> =>
  Object.hasOwn(FORMATS, format)
    ? FORMATS[format]!.read(root)
    : Effect.fail(new DatasetFormatUnknown({ format, known: Object.keys(FORMATS) }))

/** What one split holds. */
export interface SplitStatistics {
  readonly split: Split
  /** Images in the split, junk and distractors among them. */
  readonly images: number
  /** Different people: neither junk nor distractors. */
  readonly identities: number
  readonly cameras: number
  /** Images of nobody known (−1). In training these are left out of the rows and counted here. */
  readonly junk: number
  /** Background and false detections (0). */
  readonly distractors: number
}

/** The counts of each split, in the order of `SPLITS`. */
export const statistics = (dataset: Dataset): ReadonlyArray<SplitStatistics> =>
  SPLITS.map((split) => {
    const entries = dataset.splits[split]
    const leftOut = split === "train" ? dataset.junkLeftOut : 0
    return {
      split,
      images: entries.length + leftOut,
      identities: new Set(entries.filter((entry) => entry.person > 0).map((entry) => entry.person)).size,
      cameras: new Set(entries.map((entry) => entry.camera)).size,
      junk: entries.filter((entry) => entry.person === -1).length + leftOut,
      distractors: entries.filter((entry) => entry.person === 0).length
    }
  })
