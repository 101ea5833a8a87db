/**
 * The contract of a data set: three splits of images, each with its person and camera; the formats that can be read, and
 * the statistics of any of them. A new format is a `DatasetFormat` in its own file and a line in `FORMATS`.
 */
import { type Effect, Schema } from "effect"
import { dukemtmcReid } from "#data/dukemtmc-reid.ts"
import { CameraPattern, type CameraUnknown, folder } from "#data/folder.ts"
import type { DatasetEmpty, DatasetNotFound, DatasetUnreadable, ImageNameInvalid, PathOutside } from "#data/layout.ts"
import { market1501 } from "#data/market1501.ts"
import { type ListInvalid, msmt17, type VersionUnclear } from "#data/msmt17.ts"

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
  /** Each sorted by `image` in code units. Without labels, all images are in `train`. */
  readonly splits: Readonly<Record<Split, ReadonlyArray<ImageEntry>>>
  /** Junk images that lie in the training folder and are not listed in `splits.train`. */
  readonly junkLeftOut: number
  /** What the cameras are called, where the format gives them their numbers. */
  readonly cameraNames?: ReadonlyMap<number, string>
}

/** What the authors of a data set say is in it. `images` counts the junk too, `identities` neither junk nor distractors. */
export type PublishedCounts = Readonly<
  Record<Split, { readonly images: number; readonly identities: number; readonly junk: number }>
>

/** How a data set is read, beyond its format and place. */
export interface ReadOptions {
  /** Of format folder: a regular expression whose group `camera` finds the camera in an image's path. */
  readonly cameraPattern?: string
}

/** A data set's layout on disk. */
export interface DatasetFormat {
  /** As papers write it. */
  readonly title: string
  /** Whether it tells who is in an image: needed of a source, and of a target that is to be scored. */
  readonly labelled: boolean
  readonly read: (root: string, options: ReadOptions) => Effect.Effect<Dataset, DatasetError>
  readonly published?: PublishedCounts
}

/** All that can go wrong in opening a data set. */
export type DatasetError =
  | DatasetNotFound
  | DatasetUnreadable
  | DatasetEmpty
  | ImageNameInvalid
  | PathOutside
  | ListInvalid
  | VersionUnclear
  | CameraUnknown

/** The formats that can be read, by the name that run files and `--format` write. */
export const FORMATS = { market1501, "dukemtmc-reid": dukemtmcReid, msmt17, folder } satisfies Record<
  string,
  DatasetFormat
>

export type FormatName = keyof typeof FORMATS

/** Their names, in the order in which they are listed. */
export const FORMAT_NAMES = Object.keys(FORMATS) as ReadonlyArray<FormatName>

export const formatOf = (name: FormatName): DatasetFormat => FORMATS[name]

/** The kinds of the parameters that say how a data set is read. */
export const readFields = { format: Schema.Literals(FORMAT_NAMES), cameraPattern: CameraPattern }

/** Holds of `readFields`: only a folder's cameras are found by a pattern. */
export const cameraPatternFits = Schema.makeFilter(
  ({ format, cameraPattern }: { readonly format: FormatName } & ReadOptions) =>
    format === "folder" || cameraPattern === undefined || `cameraPattern is for format folder, not ${format}`
)

/**
 * Reads the folders of the data set at `root` in the given format; images are not opened. Fails when a folder or list is
 * missing, unreadable or empty, when an image's name does not tell what it must, and when a path leads out of the root.
 */
export const openDataset = (
  format: FormatName,
  root: string,
  options: ReadOptions = {}
): Effect.Effect<Dataset, DatasetError> => formatOf(format).read(root, options)

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

/** The counts of each split that the format has, in the order of `SPLITS`. */
export const statistics = (dataset: Dataset): ReadonlyArray<SplitStatistics> =>
  SPLITS.filter((split) => dataset.splits[split].length > 0).map((split) => {
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
