/** The decode stage over a split, one pass after the other: node decode.ts FOLDER, which holds images/ */
import { join } from "node:path"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Stream } from "effect"
import { Session } from "#engine/session.ts"
import { viewOf } from "#schemas/artifact.ts"
import { images } from "#schemas/images.ts"
import { decodeStage } from "#stages/decode.ts"
import { serve } from "../side.ts"
import { settingsOf } from "./settings.ts"

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
  const batches = Effect.map(decodeStage.run({}, params), (outlets) => outlets.images)
  // As the peer's data loader: each batch is taken and let go.
  const pass = Effect.scoped(Effect.flatMap(batches, Stream.runDrain))
  const bytes = params.height * params.width * 3
  const means = Stream.map(Stream.unwrap(batches), (batch) => meansOf(viewOf(images, batch).pixels, bytes, 64))
  const values = { "means of the channels": (yield* Effect.scoped(Stream.runCollect(means))).flat() }
  const { tf } = yield* Session
  yield* serve(values, settingsOf(tf), (count) => Effect.repeat(pass, { times: count - 1 }))
})

NodeRuntime.runMain(program.pipe(Effect.scoped, Effect.provide(Session.layer)))
