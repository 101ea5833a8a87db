/** `mmt quickstart`: the method on images that it draws itself, from nothing to a table of scores. */
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Console, Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { writePair } from "#cli/dataset.ts"
import { ensureEngine } from "#cli/engine.ts"
import { quietFlag, runToTheEnd, serveFlag, threadsFlag } from "#cli/run.ts"

const recipe = fileURLToPath(new URL("../recipes/quickstart.yaml", import.meta.url))

/** Draws the synthetic pair of a seed, if it is not there, and gives the settings that name it as source and target. */
export const drawnPair = Effect.fn("drawnPair")(function* (seed: number) {
  const pair = join("runs", "synthetic", `seed-${seed}`)
  yield* Console.error(yield* writePair(pair, seed, false))
  return ["source", "target"].map((domain) => ({
    key: `data.${domain}.root`,
    value: join(process.cwd(), pair, domain)
  }))
})

export const quickstart = Command.make(
  "quickstart",
  {
    seed: Flag.Int("seed").pipe(
      Flag.withDescription("Draws other people and cameras, and starts from other weights"),
      Flag.withDefault(1)
    ),
    serve: serveFlag,
    quiet: quietFlag,
    threads: threadsFlag
  },
  Effect.fn("mmt quickstart")(function* ({ seed, serve, quiet, threads }) {
    yield* ensureEngine
    const set = [
      { key: "name", value: `quickstart-seed-${seed}` },
      { key: "seed", value: seed },
      ...(yield* drawnPair(seed))
    ]
    yield* Console.error(`running ${recipe} with seed ${seed}`)
    yield* runToTheEnd(recipe, set, Option.none(), { threads, shown: quiet ? "quiet" : "view", serve })
  })
).pipe(
  Command.withShortDescription("See the method work, in minutes"),
  Command.withDescription(
    "Sets up the engine if it is missing, draws two synthetic camera networks into runs/synthetic, trains on one, scores on the other, adapts there without labels, and prints the table: source only, baseline, MMT. Started again, it goes on where it was."
  ),
  Command.withExamples([
    { command: "mmt quickstart --seed 2", description: "With another seed, in runs/quickstart-seed-2" }
  ])
)
