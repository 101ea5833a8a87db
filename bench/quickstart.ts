/** The quickstart's recipe whole, once by each side: what a user waits for, where the cases time its parts. */
import { join } from "node:path"
import { Console, Effect, FileSystem } from "effect"
import { table } from "#cli/table.ts"
import { writeSynthetic } from "#data/synthetic/write.ts"
import { adaptations } from "#pipeline/plan.ts"
import { disagreement } from "./agreement.ts"
import { type Executables, givenFolder } from "./comparison.ts"
import { quickstartRun } from "./ours/quickstart-run.ts"
import { startSide } from "./side-process.ts"

/** How far the scores of two runs part that draw other random numbers, in points of mAP. */
const tolerance = { relative: 0, absolute: 8 }

/** Runs the recipe by both sides, in processes of their own, and prints seconds and scores of each. */
export const compareWholeRuns = Effect.fn("compareWholeRuns")(function* ({ node, python }: Executables) {
  const fs = yield* FileSystem.FileSystem
  const root = yield* fs.makeTempDirectoryScoped({ prefix: "mmt-bench-" })
  const doing = (what: string) => void process.stderr.write(`quickstart: ${what}\n`)
  doing("drawing the images")
  const config = yield* quickstartRun(root)
  const { seed, data, pretrain } = config
  yield* writeSynthetic({ folder: join(root, "pair"), seed })
  // The recipe as the peer reads it.
  const recipe = { ...data, seed, pretrain, adaptations: Object.fromEntries(adaptations(config)) }
  yield* fs.writeFileString(join(root, "recipe.json"), JSON.stringify(recipe))
  const side = (executable: string, file: string) =>
    Effect.map(startSide(executable, givenFolder({ file, args: [] }, root)), ({ introduction }) => introduction).pipe(
      Effect.scoped
    )
  doing("our side")
  const ours = yield* side(node, "ours/quickstart.ts")
  doing("the peer")
  const peer = yield* side(python, "peer/quickstart.py")
  const [seconds, peerSeconds] = [ours.firstStep!, peer.firstStep!]
  const rows = Object.keys(ours.values).map((name) => [
    name,
    ...[ours, peer].map(({ values }) => values[name]?.[0]?.toFixed(1) ?? "–")
  ])
  yield* Console.log(
    [
      "The quickstart's recipe, from image files to scores",
      table(["", "ours", "peer"], [["seconds", seconds.toFixed(0), peerSeconds.toFixed(0)], ...rows]),
      `ratio of the times: ${(peerSeconds / seconds).toFixed(2)}\n  ours: ${ours.settings}\n  peer: ${peer.settings}`
    ].join("\n\n")
  )
  const apart = disagreement("quickstart", ours.values, peer.values, tolerance)
  if (apart !== undefined) return yield* apart
}, Effect.scoped)
