/** Writes checkpoint.arrow and batches.arrow, for both sides of a bench of training steps: node training-inputs.ts FOLDER CASE */
import { join } from "node:path"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Layer, Stream } from "effect"
import { random } from "#data/random.ts"
import { Session } from "#engine/session.ts"
import { teacherOf } from "#model/mean-teacher.ts"
import { Networks } from "#model/networks.ts"
import { writeBatches } from "#pipeline/arrow-file.ts"
import { batchOf } from "#schemas/artifact.ts"
import { batches } from "#schemas/batches.ts"
import { type TrainingCase, type TrainingCaseName, trainingCases } from "./training-case.ts"

const classes = 500
const instances = 4
/** Different batches, which are taken in turn. */
const count = 4

/**
 * An identity is the colours of an image's upper and lower half, an image of it their brightness and noise. Few numbers
 * make the difference, so that distances differ widely: where many pairs are about equally far apart, the last bit
 * decides which is mined, and the two sides' losses part.
 */
const drawnImage = (identity: number, key: ReadonlyArray<number>, height: number, width: number, out: Float32Array) => {
  const colour = random(1, "identity", identity)
  const colours = Float32Array.from({ length: 6 }, () => colour.uniform(-2, 2))
  const own = random(1, "image", ...key)
  const brightness = own.uniform(0.5, 1.5)
  const half = (height * width * 3) / 2
  for (let i = 0; i < out.length; i++) out[i] = brightness * colours[(i < half ? 0 : 3) + (i % 3)]! + own.uniform(-1, 1)
}

const drawnBatch = ({ students, size: [images, height, width] }: TrainingCase, iteration: number) => {
  const values = height * width * 3
  const rows = images * students.length
  const identityOf = (row: number) => Math.floor((row % images) / instances) + (iteration * images) / instances
  const label = Int32Array.from({ length: rows }, (_, row) => (identityOf(row) * 7) % classes)
  const pixels = new Float32Array(rows * values)
  for (let row = 0; row < rows; row++) {
    const out = pixels.subarray(row * values, (row + 1) * values)
    drawnImage(identityOf(row), [iteration, row], height, width, out)
  }
  return batchOf(
    batches,
    {
      image: Array.from(label, String),
      label,
      camera: new Int32Array(rows),
      view: Int8Array.from({ length: rows }, (_, row) => Math.floor(row / images)),
      pixels
    },
    { height, width, classes, epoch: 1, iteration: 0 },
    { perBatch: { iteration: String(iteration) } }
  )
}

const [folder, name] = process.argv.slice(2) as [string, TrainingCaseName]
const training: TrainingCase = trainingCases[name]

const program = Effect.gen(function* () {
  const networks = yield* Networks
  for (const [i, student] of training.students.entries()) {
    const network = networks.create(student, { backbone: training.backbone }, classes, i + 1)
    if (training.teachers) networks.copy(network, teacherOf(student))
  }
  yield* writeBatches(
    () => join(folder, "checkpoint.arrow"),
    Infinity,
    Stream.make(networks.save({ optimizer: false }))
  )
  const drawn = Stream.range(0, count - 1).pipe(Stream.map((iteration) => drawnBatch(training, iteration)))
  yield* writeBatches(() => join(folder, "batches.arrow"), Infinity, drawn)
})

NodeRuntime.runMain(program.pipe(Effect.provide(Networks.layer.pipe(Layer.provide(Session.layer)))))
