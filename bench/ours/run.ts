/**
 * A side of the bench's `--overhead`: runs of the quickstart's recipe with fewer epochs, on the pair of data sets in FOLDER, each in
 * a folder of its own below it. `without` leaves out the bookkeeping.
 */
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Effect } from "effect"
import { Bookkeeping } from "#pipeline/bookkeeping.ts"
import { executeRun } from "#pipeline/run.ts"
import { readRunFile } from "#pipeline/run-file.ts"
import { serve } from "../side.ts"

const [folder, how] = process.argv.slice(2) as [string, string]
const isKept = how === "with"
const recipe = new URL("../../recipes/quickstart.yaml", import.meta.url).pathname
const settings = {
  "data.source.root": join(folder, "pair/source"),
  "data.target.root": join(folder, "pair/target"),
  "pretrain.epochs": 5,
  "pretrain.milestones": [],
  "adapt.epochs": 3,
  variants: {}
}

const program = Effect.gen(function* () {
  const set = Object.entries(settings).map(([key, value]) => ({ key, value }))
  const config = yield* readRunFile(recipe, set)
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
