/** The decode stage over a split, one pass after the other, its shards written: node decode.ts FOLDER, which holds images/ */
import { mkdtemp, rm } from "node:fs/promises"
import { join } from "node:path"
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Stream } from "effect"
import sharp from "sharp"
import { Session } from "#engine/session.ts"
import { inletOf, writeBatches } from "#pipeline/arrow-file.ts"
import { viewOf } from "#schemas/artifact.ts"
import { images } from "#schemas/images.ts"
import { decodeStage } from "#stages/decode.ts"
import { serve } from "../side.ts"

const [folder] = process.argv.slice(2) as [string]
const params = { format: "market1501", root: join(folder, "images"), split: "train", height: 256, width: 128 } as const

/** Mean of each channel of some images, which are compared. */
const meansOf = (pixels: Uint8Array, bytes: number, every: number) =>
  Array.from({ length: Math.floor(pixels.length / bytes / every) }, (_, i) => {
    const own = pixels.subarray(i * every * bytes, (i * every + 1) * bytes)
    const sums = [0, 0, 0]
    for (let at = 0; at < bytes; at++) sums[at % 3]! += own[at]!
    return sums.map((sum) => sum / (bytes / 3))
  }).flat()

const program = Effect.gen(function* () {
  const out = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(folder, "decoded-"))),
    (path) => Effect.promise(() => rm(path, { recursive: true }))
  )
  const file = (index: number) => join(out, `part-${index}.arrow`)
  const pass = Effect.scoped(
    Effect.flatMap(decodeStage.run({}, params), (outlets) => writeBatches(file, 4096, outlets.images))
  )
  yield* pass
  const batches = yield* Stream.runCollect(inletOf(images, [file(0)]).batches)
  const pixels = batches.map((batch) => viewOf(images, batch).pixels)
  const bytes = params.height * params.width * 3
  const values = { "means of the channels": pixels.flatMap((part) => meansOf(part, bytes, 64)) }
  const { vips } = sharp.versions
  yield* serve(values, `mmt, sharp ${sharp.versions.sharp}, libvips ${vips}`, (count) =>
    Effect.repeat(pass, { times: count - 1 })
  )
})

NodeRuntime.runMain(program.pipe(Effect.scoped, Effect.provide(Session.layer)))
