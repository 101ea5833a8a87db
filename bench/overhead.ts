/** What a run's bookkeeping costs: syncs, digests and manifests, as a share of the run's time. */
import { join } from "node:path"
import { Console, Effect, FileSystem } from "effect"
import { progressLine } from "#cli/progress.ts"
import { SYNTHETIC_SIZES } from "#data/synthetic/plan.ts"
import { writeSynthetic } from "#data/synthetic/write.ts"
import { givenFolder } from "./comparison.ts"
import { startSide } from "./side-process.ts"
import { median } from "./statistics.ts"

/** Runs the quickstart's recipe with fewer epochs, in turns with and without the bookkeeping, and prints what it costs. */
export const measureOverhead = Effect.fn("measureOverhead")(function* (node: string, rounds: number) {
  const fs = yield* FileSystem.FileSystem
  const root = yield* fs.makeTempDirectoryScoped({ prefix: "mmt-bench-" })
  process.stderr.write("overhead: drawing the images, and a first run of each side\n")
  yield* writeSynthetic({ folder: join(root, "pair"), seed: 1, sizes: SYNTHETIC_SIZES })
  const side = (how: "with" | "without") => startSide(node, givenFolder({ file: "ours/run.ts", args: [how] }, root))
  const withIt = yield* side("with")
  const without = yield* side("without")
  const seconds = { with: [] as Array<number>, without: [] as Array<number> }
  const progress = progressLine("overhead: rounds", rounds)
  for (let round = 1; round <= rounds; round++) {
    seconds.with.push(yield* withIt.time(1))
    seconds.without.push(yield* without.time(1))
    progress.update(round)
  }
  progress.end()
  const [kept, bare] = [median(seconds.with), median(seconds.without)]
  const shown = (values: ReadonlyArray<number>) => values.map((value) => value.toFixed(2)).join(", ")
  yield* Console.log(
    [
      `syncs, digests and manifests: ${(100 * (1 - bare / kept)).toFixed(2)} % of a run's time (medians of ${rounds} rounds)`,
      `  with them ${kept.toFixed(2)} s (${shown(seconds.with)}), without ${bare.toFixed(2)} s (${shown(seconds.without)})`
    ].join("\n")
  )
}, Effect.scoped)
