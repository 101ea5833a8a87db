import {
  Schema as ArrowSchema,
  type Data,
  type DataType,
  Dictionary,
  Field,
  FixedSizeBinary,
  FixedSizeList,
  Float32,
  Float64,
  Int32,
  LargeUtf8,
  List,
  makeData,
  RecordBatch,
  RecordBatchReader,
  Struct,
  tableFromIPC,
  Utf8,
  vectorFromArray
} from "apache-arrow"
import { Result, Schema } from "effect"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import {
  type Artifact,
  batchOf,
  cellError,
  columnError,
  metadataOf,
  viewOf,
  withExtraColumns
} from "#schemas/artifact.ts"
import { artifacts } from "#schemas/artifacts.ts"
import { checkpoint } from "#schemas/checkpoint.ts"
import { bool, type Column, fixedBytes, float32OrNull, int32List, largeBinary, utf8, vector } from "#schemas/column.ts"
import { embeddings } from "#schemas/embeddings.ts"
import { images } from "#schemas/images.ts"
import { pseudoLabels } from "#schemas/pseudo-labels.ts"
import { arrowBytes, arrowFormats } from "./arrow-bytes.ts"

const float = fc.float({ noNaN: true, noDefaultInfinity: true })
const text = fc.string({ unit: "grapheme", maxLength: 8 })
const byte = fc.uint8Array({ maxLength: 12 })

/** Cells of a column: rows of fixed-size columns are all of one width. */
const cellsOf = (column: Column<unknown, unknown>, rows: number): fc.Arbitrary<ReadonlyArray<unknown>> => {
  const all = <A>(cell: fc.Arbitrary<A>) => fc.array(cell, { minLength: rows, maxLength: rows })
  const wide = fc.integer({ min: 1, max: 5 })
  switch (column) {
    case utf8:
      return all(text)
    case bool:
      return all(fc.boolean())
    case int32List:
      return all(fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), { maxLength: 4 }))
    case largeBinary:
      return all(byte)
    case float32OrNull:
      return all(fc.option(float))
    case vector:
      return wide.chain((size) => all(fc.array(float, { minLength: size, maxLength: size })))
    case fixedBytes:
      return wide.chain((size) => all(fc.uint8Array({ minLength: size, maxLength: size })))
  }
  switch (column.expected) {
    case "int8":
      return all(fc.integer({ min: -128, max: 127 }))
    case "int32":
      return all(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }))
    case "float32":
      return all(float)
    default:
      return all(fc.double({ noNaN: true, noDefaultInfinity: true }))
  }
}

/** Whole columns as `batchOf` takes them. */
const viewsOf = (column: Column<unknown, unknown>, cells: ReadonlyArray<unknown>): unknown => {
  const numbers = cells as ReadonlyArray<number>
  if (column === float32OrNull) return Float32Array.from(cells as Array<number | null>, (cell) => cell ?? Number.NaN)
  if (column === vector) return Float32Array.from((cells as Array<Array<number>>).flat())
  if (column === fixedBytes) return Uint8Array.from((cells as Array<Uint8Array>).flatMap((cell) => [...cell]))
  if (column.expected === "int8") return Int8Array.from(numbers)
  if (column.expected === "int32") return Int32Array.from(numbers)
  if (column.expected === "float32") return Float32Array.from(numbers)
  if (column.expected === "float64") return Float64Array.from(numbers)
  return cells
}

const metadata: Record<string, object> = {
  images: { height: 4, width: 2, dataset: "synthetic", split: "train" },
  batches: { height: 4, width: 2, classes: 5, epoch: 1, iteration: 7 },
  embeddings: { networks: "teacher-1,teacher-2" },
  "pseudo-labels": { classes: 3 },
  "teacher-updates": { parameters: ["student-1/classifier.weight"] },
  checkpoint: { model: "{}", optimizerStep: 3, teacherStep: 4 },
  ranking: { depth: 10 }
}

const rowsAndViews = (artifact: Artifact) =>
  fc.integer({ min: 1, max: 6 }).chain((rows) =>
    fc.tuple(...Object.values(artifact.columns).map((column) => cellsOf(column, rows))).map((cells) => {
      const names = Object.keys(artifact.columns)
      return {
        rows: Array.from({ length: rows }, (_, row) =>
          Object.fromEntries(names.map((name, i) => [name, cells[i]![row]]))
        ),
        view: Object.fromEntries(names.map((name, i) => [name, viewsOf(artifact.columns[name]!, cells[i]!)]))
      }
    })
  )

/** A cell of an Arrow vector as plain values. */
const plain = (cell: unknown): unknown => {
  if (cell instanceof Uint8Array) return cell
  if (cell !== null && typeof cell === "object" && Symbol.iterator in cell) return Array.from(cell as Iterable<unknown>)
  return cell
}

describe.each(artifacts.map((artifact) => [artifact.name, artifact] as const))("%s", (name, artifact) => {
  const meta = metadata[name] ?? {}

  it.each(arrowFormats)("comes back from an Arrow %s as it was written, row by row and as whole columns", (format) => {
    fc.assert(
      fc.property(rowsAndViews(artifact), ({ rows, view }) => {
        const written = batchOf(artifact, view as never, meta)
        const [batch] = RecordBatchReader.from(arrowBytes([written], format)) as Iterable<RecordBatch>
        expect(columnError(artifact, batch!.schema, "f")).toBeUndefined()
        expect(cellError(artifact, batch!, "f")).toBeUndefined()
        expect(metadataOf(artifact, batch!, "f")).toEqual(Result.succeed(meta))
        expect(viewOf(artifact, batch!)).toEqual(view)
        const found = Array.from(batch!, (row) =>
          Object.fromEntries(Object.keys(artifact.columns).map((column) => [column, plain(row![column])]))
        )
        expect(found).toEqual(rows)
        for (const row of rows) expect(Schema.encodeSync(artifact.row)(row as never)).toEqual(row)
      }),
      { numRuns: 40 }
    )
  })

  it("comes back from a part of a batch, as other tools slice them", () => {
    fc.assert(
      fc.property(rowsAndViews(artifact), fc.nat(5), ({ rows, view }, at) => {
        const from = at % rows.length
        const part = batchOf(artifact, view as never, meta).slice(from)
        const whole = batchOf(artifact, viewOf(artifact, part) as never, meta)
        expect(
          Array.from(whole, (row) => Object.fromEntries(Object.keys(artifact.columns).map((c) => [c, plain(row![c])])))
        ).toEqual(rows.slice(from))
      }),
      { numRuns: 40 }
    )
  })

  it("names each column that is missing, and each of another type", () => {
    const first = fc.sample(rowsAndViews(artifact), { numRuns: 1, seed: 1 })[0]!
    const { schema } = batchOf(artifact, first.view as never, meta)
    for (const [column, { expected }] of Object.entries(artifact.columns)) {
      const others = schema.fields.filter((f) => f.name !== column)
      const missing = columnError(artifact, new ArrowSchema(others), "part-00000.arrow")
      const names = others.map((f) => f.name).join(", ")
      expect(missing?.message).toBe(
        `part-00000.arrow: column "${column}" of ${name}: expected ${expected}, found no such column (it has ${names})`
      )
      const wrong = new Dictionary(new Utf8(), new Int32(), 1)
      const mistyped = columnError(artifact, new ArrowSchema([...others, new Field(column, wrong)]), "part-00000.arrow")
      expect(mistyped?.message).toBe(
        `part-00000.arrow: column "${column}" of ${name}: expected ${expected}, found ${wrong}`
      )
    }
  })
})

const batchWith = (columns: Record<string, Data>, texts: Record<string, string> = {}) => {
  const fields = Object.entries(columns).map(([name, data]) => new Field(name, data.type as DataType, true))
  const children = Object.values(columns)
  return new RecordBatch(
    new ArrowSchema(fields, new Map(Object.entries(texts))),
    makeData({ type: new Struct(fields), length: children[0]!.length, children })
  )
}

const dataOf = (values: ReadonlyArray<unknown>, type: DataType): Data => vectorFromArray([...values], type).data[0]!

describe("columnError", () => {
  it.each([
    ["image", new LargeUtf8(), "LargeUtf8", "utf8"],
    ["person", new Float64(), "Float64", "int32"],
    ["embedding", new List(new Field("item", new Float32())), "List<Float32>", "fixed_size_list<float32>"],
    [
      "embedding",
      new FixedSizeList(2, new Field("item", new Float64())),
      "FixedSizeList[2]<Float64>",
      "fixed_size_list<float32>"
    ]
  ])("column %s of type %s", (column, type, found, expected) => {
    const right = batchOf(
      embeddings,
      { image: ["a"], person: Int32Array.of(1), camera: Int32Array.of(1), embedding: Float32Array.of(1, 2) },
      {}
    )
    const fields = right.schema.fields.map((field) => (field.name === column ? new Field(column, type) : field))
    expect(columnError(embeddings, new ArrowSchema(fields), "x.arrow")?.message).toBe(
      `x.arrow: column "${column}" of embeddings: expected ${expected}, found ${found}`
    )
  })
})

describe("cellError", () => {
  const label = dataOf([1, 2], new Int32())

  it("counts the nulls of a column that must have none", () => {
    const batch = batchWith({ image: dataOf(["a", null], new Utf8()), label })
    expect(cellError(pseudoLabels, batch, "x.arrow")?.message).toBe(
      'x.arrow: column "image" of pseudo-labels: expected utf8, found 1 nulls'
    )
  })

  it("finds nulls inside the vectors of a column too", () => {
    const type = new FixedSizeList(2, new Field("item", new Float32()))
    const batch = batchWith({
      image: dataOf(["a", "b"], new Utf8()),
      person: label,
      camera: label,
      embedding: dataOf(
        [
          [1, 2],
          [3, null]
        ],
        type
      )
    })
    expect(cellError(embeddings, batch, "x.arrow")?.message).toBe(
      'x.arrow: column "embedding" of embeddings: expected fixed_size_list<float32>, found 1 nulls'
    )
  })

  it("allows them in other columns and where the artifact does", () => {
    const batch = batchWith({ image: dataOf(["a", "b"], new Utf8()), label, more: dataOf([null, 1], new Int32()) })
    expect(cellError(pseudoLabels, batch, "x.arrow")).toBeUndefined()
  })
})

describe("metadataOf", () => {
  const pixels = makeData({ type: new FixedSizeBinary(24), length: 1, nullCount: 0, data: new Uint8Array(24) })
  const batch = (texts: Record<string, string>) =>
    batchWith(
      { image: dataOf(["a"], new Utf8()), person: dataOf([1], new Int32()), camera: dataOf([1], new Int32()), pixels },
      texts
    )
  const all = { height: "4", width: "2", dataset: "market1501", split: "train" }
  const message = (texts: Record<string, string>) => {
    const found = metadataOf(images, batch(texts), "x.arrow")
    return Result.isFailure(found) ? found.failure.message : undefined
  }

  it("names what is missing or no number, all at once", () => {
    const { dataset, ...rest } = all
    expect(message(rest)).toMatch(/^x\.arrow: metadata of images: .*"dataset"/)
    expect(message({ ...all, height: "tall" })).toMatch(/^x\.arrow: metadata of images: .*"height"/)
    for (const height of ["-4", "0", "1.5", "NaN", ""]) expect(message({ ...all, height })).toMatch(/"height"/)
    expect(message({})).toMatch(/"height".*"width".*"dataset".*"split"/)
    expect(message(all)).toBeUndefined()
  })

  it("lets other keys be, and prefers a batch's own over its schema's", () => {
    const own = new RecordBatch(
      batch({ ...all, pandas: "{}" }).schema,
      batch(all).data,
      new Map([["split", "gallery"]])
    )
    expect(metadataOf(images, own, "x.arrow")).toEqual(
      Result.succeed({ height: 4, width: 2, dataset: "market1501", split: "gallery" })
    )
  })
})

describe("withExtraColumns", () => {
  const extra = {
    note: dataOf(["x", "y"], new Utf8()),
    constructor: dataOf([1, 2], new Int32()),
    weather: makeData({
      type: new Dictionary(new Utf8(), new Int32(), 9),
      length: 2,
      data: Int32Array.of(1, 0),
      dictionary: vectorFromArray(["sun", "rain"], new Utf8())
    }),
    tags: dataOf([["a"], []], new List(new Field("item", new Utf8())))
  }
  const input = batchWith({ ...extra, image: dataOf(["a", "b"], new Utf8()), person: dataOf([1, 2], new Int32()) })
  const output = batchOf(pseudoLabels, { image: ["a", "b"], label: Int32Array.of(3, 4) }, { classes: 5 })

  it("carries the columns over that neither artifact has, whatever their names and types", () => {
    const joined = withExtraColumns(output, input, embeddings, pseudoLabels)
    expect(joined.schema.names).toEqual(["image", "label", "note", "constructor", "weather", "tags"])
    expect(joined.schema.metadata).toEqual(new Map([["classes", "5"]]))
    const rows = tableFromIPC(arrowBytes([joined, joined.slice(1)])).toArray()
    expect(rows.map((row) => row.weather)).toEqual(["rain", "sun", "sun"])
    expect(rows.map((row) => Array.from(row.tags))).toEqual([["a"], [], []])
    expect(rows.map((row) => row.toJSON().constructor)).toEqual([1, 2, 2])
  })

  it("leaves the batch as it is where there are none", () => {
    expect(withExtraColumns(output, output, pseudoLabels, pseudoLabels)).toBe(output)
  })
})

describe("batchOf", () => {
  it("writes an empty batch that reads back", () => {
    const empty = batchOf(checkpoint, { network: [], name: [], dtype: [], shape: [], data: [] }, { model: "{}" })
    expect(tableFromIPC(arrowBytes([empty])).numRows).toBe(0)
  })

  it("is the same bytes for the same rows", () => {
    const make = () => arrowBytes([batchOf(pseudoLabels, { image: ["a"], label: Int32Array.of(1) }, {})])
    expect(make()).toEqual(make())
  })
})
