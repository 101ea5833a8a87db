/**
 * A side of the bench's `--overhead`: runs of the quickstart's recipe with fewer epochs, on the pair of data sets in FOLDER, each in
 * a folder of its own below it. `without` leaves out the bookkeeping.
 */
import { rm } from "node:fs/promises"
import { join } from "node:path"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Effect } from "effect"
import { Bookkeeping } from "#pipeline/bookkeeping.ts"
import { executeRun } from "#pipeline/run.ts"
import { serve } from "../side.ts"
import { quickstartRun } from "./quickstart-run.ts"

const [folder, how] = process.argv.slice(2) as [string, string]
const isKept = how === "with"
const fewer = {
  "pretrain.epochs": 5,
  "pretrain.milestones": [],
  "adapt.epochs": 3,
  variants: {}
}

const program = Effect.gen(function* () {
  const config = yield* quickstartRun(folder, fewer)
  let runs = 0
  const once = Effect.gen(function* () {
    const run = join(folder, `${how}-${++runs}`)
    yield* executeRun(config, run, 1)
    yield* Effect.promise(() => rm(run, { recursive: true }))
  })
  yield* once
  yield* serve({}, how, (count) => Effect.replicateEffect(once, count, { discard: true }))
})

NodeRuntime.runMain(
  program.pipe(Effect.scoped, Effect.provideService(Bookkeeping, isKept), Effect.provide(NodeServices.layer))
)
