/** Writes checkpoint.arrow and images.arrow, for both sides of the bench of embedding: node embed-inputs.ts FOLDER */
import { join } from "node:path"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Layer, Stream } from "effect"
import { random } from "#data/random.ts"
import { Session } from "#engine/session.ts"
import { Networks } from "#model/networks.ts"
import { writeBatches } from "#pipeline/arrow-file.ts"
import { batchOf } from "#schemas/artifact.ts"
import { images } from "#schemas/images.ts"
import { backbone, batchSize, network, size } from "./embed-case.ts"

/** Side of the squares of one colour that images are made of. */
const square = 16

/** Squares of random colours, with noise. */
const drawnImage = (image: number): Uint8Array => {
  const { height, width } = size
  const pixels = new Uint8Array(height * width * 3)
  const columns = width / square
  const colour = random(1, "colours", image)
  const colours = Float32Array.from({ length: (height / square) * columns * 3 }, () => colour.uniform(20, 235))
  const noise = random(1, "noise", image)
  for (let y = 0, at = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let channel = 0; channel < 3; channel++) {
        const of = (Math.floor(y / square) * columns + Math.floor(x / square)) * 3 + channel
        pixels[at++] = Math.round(colours[of]! + noise.uniform(-20, 20))
      }
  return pixels
}

const drawnImages = () => {
  const pixels = Buffer.concat(Array.from({ length: batchSize }, (_, image) => drawnImage(image)))
  const none = new Int32Array(batchSize)
  const image = Array.from({ length: batchSize }, (_, i) => `${i}.jpg`)
  const about = { ...size, dataset: "drawn", split: "query" }
  return batchOf(images, { image, person: none, camera: none, pixels }, about)
}

const [folder] = process.argv.slice(2) as [string]

const program = Effect.gen(function* () {
  const networks = yield* Networks
  networks.create(network, { backbone }, 1, 1)
  yield* writeBatches(
    () => join(folder, "checkpoint.arrow"),
    Infinity,
    Stream.make(networks.save({ optimizer: false }))
  )
  yield* writeBatches(() => join(folder, "images.arrow"), Infinity, Stream.make(drawnImages()))
})

NodeRuntime.runMain(program.pipe(Effect.provide(Networks.layer.pipe(Layer.provide(Session.layer)))))
