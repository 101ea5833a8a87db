/** `mmt dataset check`: what a data set on disk holds, beside what its authors say that it holds. */
import { stat } from "node:fs/promises"
import { join } from "node:path"
import { Console, Effect, Option, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { count, progressLine } from "#cli/progress.ts"
import { Misuse } from "#cli/set-flag.ts"
import { table } from "#cli/table.ts"
import {
  type Dataset,
  FORMAT_NAMES,
  type FormatName,
  formatOf,
  openDataset,
  type PublishedCounts,
  type ReadOptions,
  type SplitStatistics,
  statistics
} from "#data/dataset.ts"
import { CameraPattern } from "#data/folder.ts"
import { guessFormat } from "#data/format-guess.ts"
import { type ImageUndecodable, undecodableImages } from "#data/image-files.ts"
import { DOMAINS } from "#data/synthetic/plan.ts"
import { Session } from "#engine/session.ts"

/** Some images of a data set cannot be used; which, is said already. */
export class ImagesUndecodable extends Schema.TaggedError<ImagesUndecodable>()("ImagesUndecodable", {
  undecodable: Schema.Int,
  images: Schema.Int
}) {
  override get message() {
    return `${count(this.undecodable)} of ${count(this.images)} images do not decode: replace these files, or take them out of the data set`
  }
}

const isFolder = (path: string) =>
  stat(path).then(
    (stats) => stats.isDirectory(),
    () => false
  )

const holdsPair = async (dir: string) =>
  (await Promise.all(DOMAINS.map((domain) => isFolder(join(dir, domain))))).every((there) => there)

interface Found {
  readonly dataset: Dataset
  readonly format: FormatName
  readonly guessed: boolean
  readonly undecodable?: ReadonlyArray<ImageUndecodable>
}

const imagesIn = ({ splits }: Dataset) => Object.values(splits).reduce((sum, { length }) => sum + length, 0)

const decodeAll = (dataset: Dataset) =>
  Effect.suspend(() => {
    const progress = progressLine("decoding images", imagesIn(dataset))
    return undecodableImages(dataset, progress.update).pipe(Effect.ensuring(Effect.sync(progress.end)))
  }).pipe(Effect.provide(Session.layer))

const inspect = Effect.fnUntraced(function* (
  root: string,
  given: FormatName | undefined,
  options: ReadOptions,
  decode: boolean
) {
  const format = given ?? (yield* guessFormat(root))
  const dataset = yield* openDataset(format, root, options)
  const found: Found = { dataset, format, guessed: given === undefined }
  return decode ? { ...found, undecodable: yield* decodeAll(dataset) } : found
})

/** Images of each camera, in the order of their numbers. */
const camerasOf = ({ splits, cameraNames }: Dataset) =>
  [...(cameraNames ?? [])]
    .sort(([a], [b]) => a - b)
    .map(([camera, name]) => ({
      camera,
      name,
      images: splits.train.filter((entry) => entry.camera === camera).length
    }))

/** Statistics as a table, its numbers to the right; with what was published for the format, where it was. */
const splitTable = (splits: ReadonlyArray<SplitStatistics>, title: string, published: PublishedCounts | undefined) => {
  const headings = ["split", "images", "identities", "cameras", "junk", "distractors"]
  const rows = splits.map((row) => [
    row.split,
    ...[row.images, row.identities, row.cameras, row.junk, row.distractors].map(count)
  ])
  if (published !== undefined) {
    headings.push(`${title} has`)
    for (const [i, row] of splits.entries()) {
      const { identities, images, junk } = published[row.split]
      rows[i]!.push(`${count(images)} of ${count(identities)}${junk > 0 ? `, ${count(junk)} junk` : ""}`)
    }
  }
  return table(headings, rows)
}

const cameraTable = (dataset: Dataset) =>
  [
    table(
      ["camera", "name", "images"],
      camerasOf(dataset).map(({ camera, name, images }) => [String(camera), name, count(images)])
    ),
    `${count(imagesIn(dataset))} images without labels: a target to adapt to, which cannot be scored`
  ].join("\n")

const text = ({ dataset, format, guessed, undecodable }: Found, published: PublishedCounts | undefined) => {
  const { labelled, title } = formatOf(format)
  const decoded =
    undecodable?.length === 0
      ? [`all ${count(imagesIn(dataset))} images decode`]
      : (undecodable ?? []).map(({ file, problem }) => `${file}: ${problem}`)
  return [
    `${dataset.root}: ${format}${guessed ? " (guessed from what lies in it; --format names another)" : ""}`,
    labelled ? splitTable(statistics(dataset), title, published) : cameraTable(dataset),
    ...decoded
  ].join("\n")
}

const json = ({ dataset, format, guessed, undecodable }: Found) => ({
  root: dataset.root,
  format,
  guessed,
  splits: statistics(dataset),
  ...(dataset.cameraNames ? { cameras: camerasOf(dataset) } : {}),
  ...(undecodable ? { undecodable: undecodable.map(({ file, problem }) => ({ file, problem })) } : {})
})

const readOptions = (format: FormatName | undefined, pattern: string | undefined) => {
  if (pattern === undefined) return Effect.succeed({ format, options: {} })
  return format === undefined || format === "folder"
    ? Effect.succeed({ format: "folder" as const, options: { cameraPattern: pattern } })
    : Effect.fail(new Misuse({ problem: `--camera-pattern is for format folder, not ${format}` }))
}

/** The command, to be mounted under `mmt dataset`. */
export const check = Command.make(
  "check",
  {
    dir: Argument.String("DIR").pipe(
      Argument.withDescription("A data set's folder, or one that holds source/ and target/")
    ),
    format: Flag.Literals("format", FORMAT_NAMES).pipe(
      Flag.withDescription("The layout of the data set; guessed where it is not given"),
      Flag.optional
    ),
    cameraPattern: Flag.String("camera-pattern").pipe(
      Flag.withMetavar("REGEX"),
      Flag.withDescription("Of format folder: finds the camera in an image's path by its group (?<camera>…)"),
      Flag.withSchema(CameraPattern),
      Flag.optional
    ),
    decode: Flag.Boolean("decode").pipe(
      Flag.withDescription("Decode every image as a run would, and list those that do not decode"),
      Flag.withDefault(false)
    ),
    json: Flag.Boolean("json").pipe(Flag.withDescription("Print JSON instead of tables"), Flag.withDefault(false))
  },
  Effect.fn("mmt dataset check")(function* ({ dir, format: given, cameraPattern, decode, json: asJson }) {
    const { format, options } = yield* readOptions(Option.getOrUndefined(given), Option.getOrUndefined(cameraPattern))
    const pair = format !== "folder" && (yield* Effect.promise(() => holdsPair(dir)))
    const roots = pair ? DOMAINS.map((domain) => join(dir, domain)) : [dir]
    const found = yield* Effect.forEach(roots, (root) => inspect(root, format, options, decode))
    // What the authors of a data set published says nothing about a synthetic one in the same layout.
    const published = pair ? undefined : formatOf(found[0]!.format).published
    if (asJson) yield* Console.log(JSON.stringify({ datasets: found.map(json), published: published ?? null }, null, 2))
    else for (const one of found) yield* Console.log(`${text(one, published)}\n`)
    const undecodable = found.flatMap((one) => one.undecodable ?? []).length
    const images = found.reduce((sum, { dataset }) => sum + imagesIn(dataset), 0)
    if (undecodable > 0) return yield* new ImagesUndecodable({ undecodable, images })
  })
).pipe(
  Command.withShortDescription("Count what a data set holds"),
  Command.withDescription(
    "Reads a data set's folders as a run would, and prints images, identities and cameras of each split, with the published counts beside them; of a folder without labels, the images of each camera. Images count junk (-1) and distractors (0) too; identities count neither."
  ),
  Command.withExamples([
    { command: "mmt dataset check datasets/Market-1501-v15.09.15", description: "Compare a download with the paper" },
    {
      command: "mmt dataset check datasets/my-cameras --camera-pattern '_cam(?<camera>[0-9]+)_'",
      description: "See which cameras a pattern finds"
    },
    {
      command: "mmt dataset check datasets/synthetic --decode --json",
      description: "Both domains of the synthetic pair"
    }
  ])
)
