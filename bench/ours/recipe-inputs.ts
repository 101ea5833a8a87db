/** Draws the quickstart's images, and writes its recipe as the peer reads it: node recipe-inputs.ts FOLDER */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Effect } from "effect"
import { writeSynthetic } from "#data/synthetic/write.ts"
import { adaptations } from "#pipeline/plan.ts"
import { quickstartRun } from "./quickstart-run.ts"

const [folder] = process.argv.slice(2) as [string]

const program = Effect.gen(function* () {
  const config = yield* quickstartRun(folder)
  const { seed, data, pretrain } = config
  yield* writeSynthetic({ folder: join(folder, "pair"), seed })
  const recipe = { ...data, seed, pretrain, adaptations: Object.fromEntries(adaptations(config)) }
  writeFileSync(join(folder, "recipe.json"), JSON.stringify(recipe))
})

NodeRuntime.runMain(program.pipe(Effect.provide(NodeServices.layer)))
