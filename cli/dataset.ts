/** `mmt dataset`: makes the synthetic pair of camera networks, and says what a data set on disk holds. */
import { stat } from "node:fs/promises"
import { join } from "node:path"
import { Console, Effect } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { count, duration, progressLine } from "#cli/progress.ts"
import { table } from "#cli/table.ts"
import { FORMATS, openDataset, type PublishedCounts, type SplitStatistics, statistics } from "#data/dataset.ts"
import { DOMAINS, planImages, SYNTHETIC_SIZES } from "#data/synthetic/plan.ts"
import { writeSynthetic } from "#data/synthetic/write.ts"

/** Draws the synthetic pair into a folder, unless it holds that pair already, and says so. */
export const writePair = Effect.fn("writePair")(function* (out: string, seed: number, force: boolean) {
  const progress = progressLine("drawing images", planImages(SYNTHETIC_SIZES).length)
  const start = performance.now()
  const made = yield* writeSynthetic({ folder: out, seed, force, onProgress: progress.update }).pipe(
    Effect.ensuring(Effect.sync(progress.end))
  )
  const pair = `${count(made.images)} images, seed ${seed}`
  yield* Console.log(
    made.written
      ? `wrote ${out} in ${duration((performance.now() - start) / 1000)} (${pair})`
      : `${out} already holds this pair (${pair}): nothing to do`
  )
})

const synthetic = Command.make(
  "synthetic",
  {
    out: Flag.String("out").pipe(
      Flag.withMetavar("DIR"),
      Flag.withDescription("Folder to make; source/ and target/ come to lie in it")
    ),
    seed: Flag.Int("seed").pipe(
      Flag.withDescription("Another seed draws other people, cameras and images"),
      Flag.withDefault(1)
    ),
    force: Flag.Boolean("force").pipe(
      Flag.withDescription("Replace a synthetic pair that the folder already holds"),
      Flag.withDefault(false)
    )
  },
  ({ force, out, seed }) => writePair(out, seed, force)
).pipe(
  Command.withShortDescription("Make the synthetic pair of camera networks"),
  Command.withDescription(
    "Draws two networks of cameras with people in front of them: a source with identities to learn from, and a target that looks different. No real person is in it. The same seed always gives the same bytes."
  ),
  Command.withExamples([
    { command: "mmt dataset synthetic --out datasets/synthetic", description: "The pair that the quickstart uses" }
  ])
)

const check = Command.make(
  "check",
  {
    dir: Argument.String("DIR").pipe(
      Argument.withDescription("A data set's folder, or one that holds source/ and target/")
    ),
    format: Flag.Literals("format", Object.keys(FORMATS)).pipe(
      Flag.withDescription("The layout of the data set"),
      Flag.withDefault("market1501")
    ),
    json: Flag.Boolean("json").pipe(Flag.withDescription("Print JSON instead of tables"), Flag.withDefault(false))
  },
  Effect.fn("mmt dataset check")(function* ({ dir, format, json }) {
    const pair = yield* Effect.promise(() => holdsPair(dir))
    const roots = pair ? DOMAINS.map((domain) => join(dir, domain)) : [dir]
    const found = yield* Effect.forEach(roots, (root) =>
      openDataset(format, root).pipe(Effect.map((dataset) => ({ root, format, splits: statistics(dataset) })))
    )
    // What the authors of a data set published says nothing about a synthetic one in the same layout.
    const published = pair ? undefined : FORMATS[format]?.published
    if (json) {
      yield* Console.log(JSON.stringify({ datasets: found, published: published ?? null }, null, 2))
      return
    }
    const title = FORMATS[format]?.title ?? format
    for (const { root, splits } of found) yield* Console.log(`${root}\n${splitTable(splits, title, published)}\n`)
  })
).pipe(
  Command.withShortDescription("Count what a data set holds"),
  Command.withDescription(
    "Reads a data set's folders as a run would, and prints images, identities and cameras of each split, with the published counts beside them. Images count junk (-1) and distractors (0) too; identities count neither."
  ),
  Command.withExamples([
    { command: "mmt dataset check datasets/Market-1501-v15.09.15", description: "Compare a download with the paper" },
    { command: "mmt dataset check datasets/synthetic --json", description: "Both domains of the synthetic pair" }
  ])
)

/** The command, to be mounted under `mmt`. */
export const dataset = Command.make("dataset").pipe(
  Command.withDescription("Make and check data sets"),
  Command.withSubcommands([synthetic, check])
)

const isFolder = (path: string) =>
  stat(path).then(
    (stats) => stats.isDirectory(),
    () => false
  )

const holdsPair = async (dir: string) =>
  (await Promise.all(DOMAINS.map((domain) => isFolder(join(dir, domain))))).every((there) => there)

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
