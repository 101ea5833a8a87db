/** Runs one stage alone, on Arrow files that anyone wrote. */
import { readdir, stat } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Layer, Result, Runtime, Schema } from "effect"
import { AugmentationPool } from "#data/augmentation-pool.ts"
import { Programs } from "#engine/programs.ts"
import { Session } from "#engine/session.ts"
import { Networks } from "#model/networks.ts"
import { inletOf, writeBatches } from "#pipeline/arrow-file.ts"
import { decodeSettings, type Override, withOverride } from "#pipeline/settings.ts"
import type { Inlet, Port } from "#pipeline/stage.ts"
import { type StageName, stageOf } from "#pipeline/stages.ts"

/** The stage cannot be called so: a port or parameter is unknown, missing or of the wrong kind. */
export class StageMisused extends Schema.TaggedError<StageMisused>()("StageMisused", {
  stage: Schema.String,
  problems: Schema.Array(Schema.String)
}) {
  readonly [Runtime.errorExitCode] = 2
  override get message() {
    return this.problems.map((problem) => `stage ${this.stage}: ${problem}`).join("\n")
  }
}

/** The Arrow files that a path stands for: itself, or all `.arrow` files of a folder by name. */
const arrowFiles = (path: string) =>
  Effect.promise(async () => {
    const isFolder = await stat(path).then(
      (found) => found.isDirectory(),
      () => false
    )
    if (!isFolder) return [path]
    const names = (await readdir(path)).filter((name) => name.endsWith(".arrow") && !name.startsWith("."))
    return names.length > 0 ? names.sort().map((name) => join(path, name)) : [path]
  })

/**
 * Runs a stage on files (several of one port are taken one after the other) and writes each output port to
 * `out/PORT.arrow`. Gives the files written.
 */
export const runStage = Effect.fn("runStage")(function* (
  name: StageName,
  inputs: ReadonlyArray<readonly [port: string, path: string]>,
  settings: ReadonlyArray<Override>,
  out: string,
  threads: number
) {
  const stage = stageOf(name)
  const ports = stage.inputs as Readonly<Record<string, Port>>
  const known = Object.keys(ports).join(", ") || "none"
  const unknown = inputs
    .filter(([port]) => !(port in ports))
    .map(([port]) => `no input port "${port}"; it has: ${known}`)
  const missing = Object.entries(ports)
    .filter(([port, { optional }]) => !optional && !inputs.some(([given]) => given === port))
    .map(([port, { about }]) => `input port "${port}" (${about}) is missing; give --in ${port}=FILE`)
  const params = decodeSettings(stage.params, settings.reduce(withOverride, {} as unknown))
  const wrong = Result.isFailure(params) ? params.failure.map(({ text }) => text) : []
  const problems = [...unknown, ...missing, ...wrong]
  if (Result.isFailure(params) || problems.length > 0) return yield* new StageMisused({ stage: name, problems })

  const inlets: Record<string, Inlet> = {}
  for (const [port, { artifact }] of Object.entries(ports)) {
    const paths = inputs.filter(([given]) => given === port).map(([, path]) => path)
    const files = (yield* Effect.forEach(paths, arrowFiles)).flat()
    if (files.length > 0) inlets[port] = inletOf(artifact, files)
  }
  const services = Layer.mergeAll(
    Networks.layer.pipe(Layer.provideMerge(Layer.fresh(Session.layer))),
    AugmentationPool.layer(threads),
    Programs.layer
  )
  const running = Effect.gen(function* () {
    const outlets = yield* stage.run(inlets, params.success)
    return yield* Effect.forEach(
      Object.entries(outlets),
      ([port, stream]) => writeBatches(() => join(out, `${port}.arrow`), Number.POSITIVE_INFINITY, stream),
      { concurrency: "unbounded" }
    )
  })
  return (yield* running.pipe(Effect.scoped, Effect.provide(services, { local: true }))).flat()
})
