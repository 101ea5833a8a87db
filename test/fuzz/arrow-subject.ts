/** Arrow files of every artifact, as stages, checkpoints, the image rows and `mmt sql` read them. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Message, type RecordBatch } from "apache-arrow"
import { Effect, Stream } from "effect"
import { readColumns } from "#audit/arrow-columns.ts"
import { imageRows } from "#data/image-rows.ts"
import { readCheckpointFile } from "#model/checkpoint-files/read.ts"
import { readBatches, writeBatches } from "#pipeline/arrow-file.ts"
import { type Artifact, batchOf, metadataOf, viewOf } from "#schemas/artifact.ts"
import { artifacts } from "#schemas/artifacts.ts"
import { arrowBytes } from "../schemas/arrow-bytes.ts"
import type { Range } from "./edits.ts"
import { type Content, digestOf, type Example, type Subject } from "./subject.ts"

const rows = 6
const [height, width] = [4, 2]

/** Values of a column by its Arrow type. */
const valuesOf = (artifact: string, name: string, type: string): unknown => {
  const numbers = Array.from({ length: rows }, (_, row) => row)
  if (artifact === "checkpoint" && name === "dtype") return numbers.map(() => "float32")
  if (artifact === "checkpoint" && name === "shape") return numbers.map(() => [2, 2])
  if (artifact === "checkpoint" && name === "network") return numbers.map(() => "student-1")
  if (type === "utf8") return numbers.map((row) => `${name}/ü-${row}`)
  if (type === "int8") return Int8Array.from(numbers)
  if (type === "int32") return Int32Array.from(numbers)
  if (type.startsWith("float32"))
    return Float32Array.from(numbers, (row) => (type === "float32" || row % 2 ? row : NaN))
  if (type === "float64") return Float64Array.from(numbers)
  if (type === "bool") return numbers.map((row) => row % 2 === 0)
  if (type === "large_binary") return numbers.map((row) => new Uint8Array(16).fill(row))
  if (type === "list<int32>") return numbers.map((row) => numbers.slice(0, row))
  if (type === "fixed_size_binary") return new Uint8Array(rows * height * width * 3).fill(7)
  return Float32Array.from({ length: rows * height * width * 3 }, (_, i) => i / 100)
}

const metadata: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  images: { height, width, dataset: "market1501", split: "train" },
  batches: { height, width, iteration: 0 },
  checkpoint: { model: "{}" },
  ranking: { depth: 2 },
  "teacher-updates": { parameters: ["student-1/w"] }
}

const batch = (artifact: Artifact): RecordBatch => {
  const columns = Object.entries(artifact.columns)
  const view = Object.fromEntries(
    columns.map(([name, { expected }]) => [name, valuesOf(artifact.name, name, expected)])
  )
  return batchOf(artifact, view as never, metadata[artifact.name] ?? {})
}

/** A file of two batches as the pipeline writes it. */
const written = async (batches: ReadonlyArray<RecordBatch>): Promise<Buffer> => {
  const folder = mkdtempSync(join(tmpdir(), "mmt-fuzz-seed-"))
  try {
    await Effect.runPromise(writeBatches(() => join(folder, "a.arrow"), 1e9, Stream.fromIterable(batches)))
    return readFileSync(join(folder, "a.arrow"))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Where the lengths, headers and the footer lie: all but the bodies. */
const structureOf = (bytes: Buffer): ReadonlyArray<Range> => {
  const isFile = bytes.toString("latin1", 0, 6) === "ARROW1"
  const ranges: Array<Range> = []
  let at = isFile ? 8 : 0
  while (at + 8 <= bytes.length && bytes.readInt32LE(at + 4) > 0) {
    const body = at + 8 + bytes.readInt32LE(at + 4)
    ranges.push([at, body])
    at = body + Message.decode(bytes.subarray(at + 8, body)).bodyLength
  }
  return [...ranges, [at, bytes.length]]
}

const contentOf = (artifact: Artifact, batches: ReadonlyArray<RecordBatch>): Content => ({
  shape: digestOf(batches.map((one) => [one.numRows, one.schema.fields.map(String)])),
  values: digestOf(
    batches.map((one) => [
      viewOf(artifact, one),
      artifact.name === "checkpoint" || metadataOf(artifact, one, "") ? [...one.schema.metadata] : []
    ])
  )
})

const read = (artifact: Artifact, file: string, example: Example) =>
  Effect.gen(function* () {
    const batches = yield* Stream.runCollect(readBatches(artifact, file))
    const extra = []
    if (artifact.name === "images")
      extra.push((yield* imageRows([file])).rows.map(({ place, ...row }) => [row, place.offset]))
    if (artifact.name === "checkpoint" && example.name === "file")
      for (const [network, state] of (yield* readCheckpointFile(file)).states)
        for (const [name, tensor] of state) extra.push([network, name, tensor.shape, tensor.values()])
    const found = contentOf(artifact, batches)
    // `mmt sql` reads what runs have written, which are files.
    if (example.name === "file") {
      const wide = Object.keys(artifact.columns).filter((name) => name === "pixels")
      const again = yield* Effect.sync(() => contentOf(artifact, readColumns(file, new Set(wide))))
      if (wide.length === 0 && found.values !== again.values)
        return yield* Effect.die(new Error("two readers read two different contents"))
    }
    return { shape: found.shape, values: digestOf([found.values, extra]) }
  })

export const arrowSubjects = async (): Promise<ReadonlyArray<Subject>> =>
  Promise.all(
    artifacts.map(async (artifact): Promise<Subject> => {
      const batches = [batch(artifact), batch(artifact).slice(0, 4)]
      const own = artifact.name === "checkpoint" ? batches.slice(0, 1) : batches
      const files = [
        ["file", await written(own)],
        ["stream", Buffer.from(arrowBytes(own, "stream"))]
      ] as const
      const examples = files.map(([name, bytes]): Example => ({ name, bytes, structure: structureOf(bytes) }))
      return {
        name: `arrow ${artifact.name}`,
        ending: ".arrow",
        examples,
        read: (file, example) => read(artifact, file, example),
        unnoticed: "values"
      }
    })
  )
