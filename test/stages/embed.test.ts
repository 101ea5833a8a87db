import {
  Schema as ArrowSchema,
  type Data,
  type DataType,
  Field,
  makeData,
  RecordBatch,
  Struct,
  Utf8,
  vectorFromArray
} from "apache-arrow"
import { Effect, Schema } from "effect"
import { describe, expect, it } from "vitest"
import { imagenetNormalisation, normalisationTable, normalise } from "#data/augmentation.ts"
import { random } from "#data/random.ts"
import { valuesOf } from "#engine/session.ts"
import type { Network } from "#model/network.ts"
import { Networks } from "#model/networks.ts"
import { batchOf, metadataOf, viewOf } from "#schemas/artifact.ts"
import { checkpoint } from "#schemas/checkpoint.ts"
import { embeddings } from "#schemas/embeddings.ts"
import { images } from "#schemas/images.ts"
import { EmbedParams, embedStage } from "#stages/embed.ts"
import { drain, inlet, run } from "./run-stage.ts"
import { tinyDimension, tinyModel, tinySize } from "./tiny-training.ts"

const bytes = tinySize.height * tinySize.width * 3
const draw = random(3)
const pixels = Uint8Array.from({ length: 7 * bytes }, () => draw.int(256))

const imageBatch = (from: number, to: number, size = tinySize) =>
  batchOf(
    images,
    {
      image: Array.from({ length: to - from }, (_, i) => `${from + i}.jpg`),
      person: Int32Array.from({ length: to - from }, (_, i) => from + i - 1),
      camera: new Int32Array(to - from).fill(2),
      pixels: pixels.slice(from * bytes, to * bytes)
    },
    { ...size, dataset: "test", split: "query" }
  )

const embed = (given: ReadonlyArray<RecordBatch>, params: Partial<typeof EmbedParams.Encoded> = {}) =>
  Effect.gen(function* () {
    const inputs = { images: inlet(images, given, "images.arrow"), checkpoint: undefined }
    const outlets = yield* embedStage.run(inputs, yield* Schema.decodeUnknownEffect(EmbedParams)(params))
    return (yield* drain(outlets)).embeddings
  })

const makeTeachers = Effect.map(Networks, (networks) =>
  ["teacher-1", "teacher-2"].map((name, seed) => networks.create(name, tinyModel, 3, seed))
)

const rowsOf = (batches: ReadonlyArray<RecordBatch>) =>
  batches.flatMap((batch) => {
    const { image, embedding } = viewOf(embeddings, batch)
    return image.map((_, row) => [...embedding.subarray(row * tinyDimension, (row + 1) * tinyDimension)])
  })

const unit = (vector: ReadonlyArray<number>) => vector.map((value) => value / Math.hypot(...vector))

/** The neck's output of one network for each image. */
const necks = (network: Network) =>
  Effect.map(Networks, ({ session: { tf } }) => {
    const values = new Float32Array(pixels.length)
    normalise(pixels, normalisationTable(imagenetNormalisation), values)
    const flat = valuesOf(tf, () => network.embed(tf.tensor4d(values, [7, tinySize.height, tinySize.width, 3])))
    return Array.from({ length: 7 }, (_, row) => [...flat.subarray(row * tinyDimension, (row + 1) * tinyDimension)])
  })

const expectRows = (found: ReadonlyArray<ReadonlyArray<number>>, expected: ReadonlyArray<ReadonlyArray<number>>) => {
  expect(found.length).toBe(expected.length)
  for (const [row, vector] of expected.entries())
    for (const [d, value] of vector.entries()) expect(found[row]![d]).toBeCloseTo(value, 5)
}

describe("embed", () => {
  it("gives one network's neck, L2-normalised, image by image", () =>
    run(
      Effect.gen(function* () {
        const [teacher] = yield* makeTeachers
        const out = yield* embed([imageBatch(0, 3), imageBatch(3, 7)], { networks: ["teacher-1"] })
        expectRows(rowsOf(out), (yield* necks(teacher!)).map(unit))
        const { image, person, camera } = viewOf(embeddings, out[1]!)
        expect([image, [...person], [...camera]]).toEqual([
          ["3.jpg", "4.jpg", "5.jpg", "6.jpg"],
          [2, 3, 4, 5],
          [2, 2, 2, 2]
        ])
        expect(metadataOf(embeddings, out[0]!, "")).toMatchObject({ success: { networks: "teacher-1" } })
      })
    ))

  it("averages the normalised outputs of several networks and normalises again", () =>
    run(
      Effect.gen(function* () {
        const [first, second] = yield* makeTeachers
        const out = rowsOf(yield* embed([imageBatch(0, 7)]))
        const [a, b] = [(yield* necks(first!)).map(unit), (yield* necks(second!)).map(unit)]
        expectRows(
          out,
          a.map((vector, row) => unit(vector.map((value, d) => (value + b[row]![d]!) / 2)))
        )
        for (const vector of out) expect(Math.hypot(...vector)).toBeCloseTo(1, 5)
      })
    ))

  it("refuses images of another size after the first ones", () =>
    run(
      Effect.gen(function* () {
        yield* makeTeachers
        const { height, width } = tinySize
        const turned = imageBatch(3, 7, { height: width, width: height })
        const { message } = yield* Effect.flip(embed([imageBatch(0, 3), turned]))
        expect(message).toBe(
          `images.arrow: cannot be read as images: images of ${width}×${height} after those of ${height}×${width}, expected the same size`
        )
      })
    ))

  it("gives the same for any number of images at once, and leaves no tensor behind", () =>
    run(
      Effect.gen(function* () {
        yield* makeTeachers
        const { session } = yield* Networks
        const whole = rowsOf(yield* embed([imageBatch(0, 7)], { batchSize: 64 }))
        const before = session.tf.memory().numTensors
        expectRows(rowsOf(yield* embed([imageBatch(0, 7)], { batchSize: 3 })), whole)
        expectRows(rowsOf(yield* embed([imageBatch(0, 7)], { batchSize: 1 })), whole)
        expect(session.tf.memory().numTensors).toBe(before)
      })
    ))

  it("takes the networks of a checkpoint", async () => {
    const saved = await run(
      Effect.gen(function* () {
        yield* makeTeachers
        const networks = yield* Networks
        return { checkpoint: networks.save({ optimizer: false }), rows: rowsOf(yield* embed([imageBatch(0, 7)])) }
      })
    )
    const rows = await run(
      Effect.gen(function* () {
        const inputs = {
          images: inlet(images, [imageBatch(0, 7)]),
          checkpoint: inlet(checkpoint, [saved.checkpoint])
        }
        const outlets = yield* embedStage.run(inputs, yield* Schema.decodeUnknownEffect(EmbedParams)({}))
        return rowsOf((yield* drain(outlets)).embeddings)
      })
    )
    expect(rows).toEqual(saved.rows)
  })

  it("carries columns over that it does not know", () =>
    run(
      Effect.gen(function* () {
        yield* makeTeachers
        const batch = imageBatch(0, 2)
        const notes: Data = vectorFromArray(["x", "y"], new Utf8()).data[0]!
        const fields = [...batch.schema.fields, new Field("note", notes.type as DataType)]
        const data = makeData({ type: new Struct(fields), length: 2, children: [...batch.data.children, notes] })
        const given = new RecordBatch(new ArrowSchema(fields, batch.schema.metadata), data)
        const [out] = yield* embed([given])
        expect(out!.schema.names).toEqual(["image", "person", "camera", "embedding", "note"])
      })
    ))

  it("refuses pixels of another size than the metadata says", () =>
    run(
      Effect.gen(function* () {
        yield* makeTeachers
        const error = yield* Effect.flip(embed([imageBatch(0, 2, { height: 4, width: 4 })]))
        expect(error.message).toBe(
          'images.arrow: column "pixels" of images: expected fixed_size_binary[48] (height 4 · width 4 · 3, as its metadata says), found FixedSizeBinary[96]'
        )
      })
    ))

  it("names a network that is not there", async () => {
    const error = await run(Effect.flip(embed([imageBatch(0, 2)])))
    expect(error.message).toBe('network "teacher-1" is not there (present: none); give a checkpoint that holds it')
  })
})
