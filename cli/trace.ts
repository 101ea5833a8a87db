/** `mmt trace`: one image through a run. */
import { Console, Effect } from "effect"
import { Argument, Command } from "effect/cli"
import { openRun } from "#audit/open-run.ts"
import type { TaskPlace } from "#audit/task-place.ts"
import { type ImageTrace, traceImage } from "#audit/trace.ts"
import { jsonFlag, runArgument } from "#cli/audit.ts"
import { table } from "#cli/table.ts"

const where = ({ variant, stage, epoch, network }: TaskPlace) => [
  variant ?? stage,
  epoch === null ? "" : String(epoch),
  network ?? ""
]
const headings = ["in", "epoch", "network"]

const titled = (title: string, columns: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>) =>
  rows.length === 0 ? [] : [`${title}\n${table([...headings, ...columns], rows)}`]

/** 3 iterations, one of them twice: "4, 17 (2×)". */
const counted = (iterations: ReadonlyArray<number>) =>
  [...Map.groupBy(iterations, (iteration) => iteration)]
    .map(([iteration, { length }]) => (length === 1 ? String(iteration) : `${iteration} (${length}×)`))
    .join(", ")

const firstRanks = 5

const ranked = (name: string, { rank, match }: { readonly rank: number; readonly match: boolean }) =>
  `${rank} ${name}${match ? " ✓" : ""}`

const text = (trace: ImageTrace) =>
  [
    `${trace.image} (${trace.split}): person ${trace.person}, camera ${trace.camera}\n${trace.file}, row ${trace.row}`,
    ...titled(
      "embeddings",
      ["norm"],
      trace.embeddings.map((one) => [...where(one), one.norm.toFixed(6)])
    ),
    ...titled(
      "clusters",
      ["label", "images in it"],
      trace.clusters.map((one) => [...where(one), one.label < 0 ? "outlier" : String(one.label), String(one.images)])
    ),
    ...titled(
      "batches, by the sampler",
      ["times", "iterations"],
      trace.batches.map((one) => [...where(one), String(one.iterations.length), counted(one.iterations)])
    ),
    ...titled(
      "as a query",
      ["AP", "first ranks, ✓ matches"],
      trace.asQuery.map((one) => [
        ...where(one),
        one.averagePrecision === null ? "–" : (100 * one.averagePrecision).toFixed(1),
        one.list
          .slice(0, firstRanks)
          .map((found) => ranked(found.gallery, found))
          .join(", ")
      ])
    ),
    ...titled(
      "as a gallery image",
      ["queries", "best ranks, ✓ matches"],
      trace.asGallery.map((one) => [
        ...where(one),
        String(one.queries.length),
        [...one.queries]
          .sort((a, b) => a.rank - b.rank)
          .slice(0, firstRanks)
          .map((found) => ranked(found.query, found))
          .join(", ")
      ])
    )
  ].join("\n\n")

export const trace = Command.make(
  "trace",
  {
    run: runArgument,
    image: Argument.String("IMAGE").pipe(
      Argument.withDescription("Path of the image below its data set's root, or the end of it")
    ),
    json: jsonFlag
  },
  Effect.fn("mmt trace")(function* ({ run: folder, image, json }) {
    const traces = yield* traceImage(yield* openRun(folder), image)
    yield* Console.log(json ? JSON.stringify(traces, null, 2) : traces.map(text).join("\n\n"))
  })
).pipe(
  Command.withShortDescription("Follow one image through a run"),
  Command.withDescription(
    "Prints where an image's pixels lie, and by epoch the norm of its embedding, its cluster, the batches that it was in (as the sampler gives them again), its rank list as a query, and the queries that list it as a gallery image."
  ),
  Command.withExamples([
    { command: "mmt trace runs/quickstart 0007_c2s1_000003_00.jpg", description: "By the end of its path" },
    { command: "mmt trace runs/quickstart 0007_c2s1_000003_00.jpg --json", description: "With the whole rank lists" }
  ])
)
