/** `mmt dataset`: makes the synthetic pair of camera networks, and checks data sets. */
import { Console, Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { check } from "#cli/dataset-check.ts"
import { count, duration, progressLine } from "#cli/progress.ts"
import { planImages, SYNTHETIC_SIZES } from "#data/synthetic/plan.ts"
import { writeSynthetic } from "#data/synthetic/write.ts"

/** Draws the synthetic pair into a folder, unless it holds that pair already; gives what there is to say of it. */
export const writePair = Effect.fn("writePair")(function* (out: string, seed: number, force: boolean) {
  const progress = progressLine("drawing images", planImages(SYNTHETIC_SIZES).length)
  const start = performance.now()
  const made = yield* writeSynthetic({ folder: out, seed, force, onProgress: progress.update }).pipe(
    Effect.ensuring(Effect.sync(progress.end))
  )
  const pair = `${count(made.images)} images, seed ${seed}`
  return made.written
    ? `wrote ${out} in ${duration((performance.now() - start) / 1000)} (${pair})`
    : `${out} already holds this pair (${pair}): nothing to do`
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
  ({ force, out, seed }) => Effect.flatMap(writePair(out, seed, force), Console.log)
).pipe(
  Command.withShortDescription("Make the synthetic pair of camera networks"),
  Command.withDescription(
    "Draws two networks of cameras with people in front of them: a source with identities to learn from, and a target that looks different. No real person is in it. The same seed always gives the same bytes."
  ),
  Command.withExamples([
    { command: "mmt dataset synthetic --out datasets/synthetic", description: "The pair that the quickstart uses" }
  ])
)

/** The command, to be mounted under `mmt`. */
export const dataset = Command.make("dataset").pipe(
  Command.withDescription("Make and check data sets"),
  Command.withSubcommands([synthetic, check])
)
