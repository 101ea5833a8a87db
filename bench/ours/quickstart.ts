/** The quickstart's recipe as `mmt run` runs it, from JPEG files to scores: node quickstart.ts FOLDER */
import { join } from "node:path"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Effect, Layer } from "effect"
import { Session } from "#engine/session.ts"
import { executeRun } from "#pipeline/run.ts"
import { lastRows, scoreRun } from "#pipeline/score.ts"
import { serve } from "../side.ts"
import { quickstartRun } from "./quickstart-run.ts"
import { settingsOf } from "./settings.ts"

const [folder] = process.argv.slice(2) as [string]

const program = Effect.gen(function* () {
  const config = yield* quickstartRun(folder)
  const run = join(folder, "run")
  yield* executeRun(config, run, 1)
  const firstStep = performance.now() / 1000
  const scores = lastRows(yield* scoreRun(config, run))
  const values = Object.fromEntries(scores.map(({ name, mean }) => [`mAP, ${name}`, [mean.mAP!]]))
  const { tf } = yield* Session
  yield* serve(values, settingsOf(tf), () => Effect.void, { firstStep })
})

NodeRuntime.runMain(program.pipe(Effect.scoped, Effect.provide(Layer.merge(Session.layer, NodeServices.layer))))
