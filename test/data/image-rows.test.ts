import { appendFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import {
  Bool,
  type Data,
  type DataType,
  DenseUnion,
  Dictionary,
  Field,
  FixedSizeList,
  Float32,
  Int32,
  LargeUtf8,
  List,
  makeData,
  Null,
  RecordBatch,
  Schema,
  SparseUnion,
  Struct,
  Utf8,
  Utf8View,
  vectorFromArray
} from "apache-arrow"
import { Effect } from "effect"
import fc from "fast-check"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { imageRows, pixelPlaces } from "#data/image-rows.ts"
import { batchOf, viewOf } from "#schemas/artifact.ts"
import { images } from "#schemas/images.ts"
import { type ArrowFormat, arrowBytes, arrowFormats } from "../schemas/arrow-bytes.ts"

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "image-rows-"))
})
afterAll(() => rm(folder, { recursive: true }))

const size = { height: 3, width: 2 }
const bytes = size.height * size.width * 3
const metadata = { ...size, dataset: "test", split: "train" }

/** A batch of so many images, the first of this number. */
const imageBatch = (rows: number, first = 0, of: { height: number; width: number } = size) =>
  batchOf(
    images,
    {
      image: Array.from({ length: rows }, (_, row) => `image-${first + row}.jpg`),
      person: Int32Array.from({ length: rows }, (_, row) => (first + row) % 5),
      camera: Int32Array.from({ length: rows }, (_, row) => (first + row) % 3),
      pixels: Uint8Array.from({ length: rows * of.height * of.width * 3 }, (_, at) => (first * 31 + at * 7) % 251)
    },
    { ...metadata, ...of }
  )

const dictionary = vectorFromArray(["left", "right"], new Utf8())
const sides = new Dictionary(new Utf8(), new Int32(), 1)

/** Columns that other tools write: of so many rows each. */
const extras: Record<string, (rows: number) => Data> = {
  utf8: (rows) =>
    vectorFromArray(
      Array.from({ length: rows }, (_, row) => "x".repeat(row)),
      new Utf8()
    ).data[0]!,
  nullable: (rows) =>
    vectorFromArray(
      Array.from({ length: rows }, (_, row) => (row % 2 ? null : row)),
      new Int32()
    ).data[0]!,
  bool: (rows) =>
    vectorFromArray(
      Array.from({ length: rows }, (_, row) => row % 2 === 0),
      new Bool()
    ).data[0]!,
  none: (rows) => makeData({ type: new Null(), length: rows }),
  list: (rows) =>
    vectorFromArray(
      Array.from({ length: rows }, (_, row) => Array(row % 3).fill(row)),
      new List(new Field("item", new Int32()))
    ).data[0]!,
  vector: (rows) =>
    vectorFromArray(
      Array.from({ length: rows }, () => [1, 2]),
      new FixedSizeList(2, new Field("item", new Float32()))
    ).data[0]!,
  struct: (rows) =>
    vectorFromArray(
      Array.from({ length: rows }, (_, row) => ({ a: row, b: "b" })),
      new Struct<{ a: Int32; b: Utf8 }>([new Field("a", new Int32()), new Field("b", new Utf8())])
    ).data[0]!,
  dictionary: (rows) =>
    makeData({
      type: sides,
      length: rows,
      nullCount: 0,
      data: Int32Array.from({ length: rows }, (_, row) => row % 2),
      dictionary
    }),
  largeUtf8: (rows) =>
    vectorFromArray(
      Array.from({ length: rows }, () => "large"),
      new LargeUtf8()
    ).data[0]!,
  view: (rows) => {
    // Short values lie in the view itself, long ones in one of any number of further buffers.
    const views = new Uint8Array(rows * 16)
    for (let row = 0; row < rows; row++) {
      views.set([1, 0, 0, 0, 120], row * 16)
    }
    const variadicBuffers = [new Uint8Array(16), new Uint8Array(64)]
    return makeData({ type: new Utf8View(), length: rows, nullCount: 0, views, variadicBuffers })
  },
  sparseUnion: (rows) =>
    makeData({
      type: new SparseUnion([0], [new Field("n", new Int32())]),
      length: rows,
      typeIds: new Int8Array(rows),
      children: [makeData({ type: new Int32(), length: rows, nullCount: 0, data: new Int32Array(rows) })]
    }),
  denseUnion: (rows) =>
    makeData({
      type: new DenseUnion([0], [new Field("n", new Int32())]),
      length: rows,
      typeIds: new Int8Array(rows),
      valueOffsets: Int32Array.from({ length: rows }, (_, row) => row),
      children: [makeData({ type: new Int32(), length: rows, nullCount: 0, data: new Int32Array(rows) })]
    })
}

/** The batch with further columns, all in the order of these names. */
const rearranged = (batch: RecordBatch, names: ReadonlyArray<string>) => {
  const columns: ReadonlyArray<readonly [string, Data]> = names.map((name) => [
    name,
    batch.getChild(name)?.data[0] ?? extras[name]!(batch.numRows)
  ])
  const fields = columns.map(([name, data]) => new Field(name, data.type as DataType, true))
  const schema = new Schema(fields, batch.schema.metadata)
  const children = columns.map(([, data]) => data)
  return new RecordBatch(schema, makeData({ type: new Struct(fields), length: batch.numRows, children }))
}

let files = 0
const writeArrow = async (batches: ReadonlyArray<RecordBatch>, format?: ArrowFormat) => {
  const file = join(folder, `${files++}.arrow`)
  await writeFile(file, arrowBytes(batches, format))
  return file
}

const rowsOf = (...paths: ReadonlyArray<string>) => Effect.runPromise(imageRows(paths))
const failureOf = (...paths: ReadonlyArray<string>) => Effect.runPromise(Effect.flip(imageRows(paths)))

/** What `imageRows` says of the file is what Arrow reads in it, pixels included. */
const expectSame = async (file: string, batches: ReadonlyArray<RecordBatch>) => {
  const { rows, height, width } = await rowsOf(file)
  expect({ height, width }).toEqual(size)
  const expected = batches.flatMap((batch) => {
    const { image, person, camera, pixels } = viewOf(images, batch)
    return image.map((name, row) => ({
      image: name,
      person: person[row],
      camera: camera[row],
      pixels: [...pixels.subarray(row * bytes, (row + 1) * bytes)]
    }))
  })
  const content = await readFile(file)
  const found = rows.map(({ image, person, camera, place }) => {
    expect(place.file).toBe(file)
    return { image, person, camera, pixels: [...content.subarray(place.offset, place.offset + bytes)] }
  })
  expect(found).toEqual(expected)
}

describe.each(arrowFormats)("imageRows of an Arrow %s", (format) => {
  it("finds every image of several record batches", async () => {
    const batches = [imageBatch(5), imageBatch(1, 5), imageBatch(8, 6)]
    await expectSame(await writeArrow(batches, format), batches)
  })

  it("takes the columns in any order", async () => {
    const order = fc.shuffledSubarray(["image", "person", "camera", "pixels"], { minLength: 4, maxLength: 4 })
    await fc.assert(
      fc.asyncProperty(order, fc.integer({ min: 1, max: 20 }), async (names, rows) => {
        const batches = [rearranged(imageBatch(rows), names), rearranged(imageBatch(3, rows), names)]
        await expectSame(await writeArrow(batches, format), batches)
      }),
      { numRuns: 20 }
    )
  })

  it.each(Object.keys(extras))("skips a column of type %s before the pixels", async (extra) => {
    const names = ["image", extra, "pixels", "person", "camera"]
    const batches = [rearranged(imageBatch(7), names), rearranged(imageBatch(4, 7), names)]
    await expectSame(await writeArrow(batches, format), batches)
  })

  it("skips any number of other columns", async () => {
    const own = ["image", "person", "camera", "pixels"]
    const names = fc.subarray(Object.keys(extras)).chain((more) => {
      const all = [...own, ...more]
      return fc.shuffledSubarray(all, { minLength: all.length, maxLength: all.length })
    })
    await fc.assert(
      fc.asyncProperty(names, async (order) => {
        const batches = [rearranged(imageBatch(4), order), rearranged(imageBatch(9, 4), order)]
        await expectSame(await writeArrow(batches, format), batches)
      }),
      { numRuns: 40 }
    )
  })

  it("refuses a file that ends too early, wherever it was cut", async () => {
    const whole = await readFile(await writeArrow([imageBatch(3), imageBatch(4, 3)], format))
    // A stream may end after any of its messages, without a mark.
    const messageEnds = new Set<number>()
    if (format === "stream") {
      const part = await readFile(await writeArrow([imageBatch(3)], format))
      messageEnds.add(part.length - 8)
      messageEnds.add(whole.length - 8)
    }
    for (let length = 0; length < whole.length; length += 3) {
      if (format === "stream" && [...messageEnds].some((end) => length >= end && length < end + 8)) continue
      const file = join(folder, "cut.arrow")
      await writeFile(file, whole.subarray(0, length))
      const error = await failureOf(file)
      expect(error, `cut at ${length} of ${whole.length}`).toMatchObject({ _tag: "ArtifactUnreadable", source: file })
    }
  })
})

describe("pixelPlaces", () => {
  it("holds each image's file and offset, and each file once", () => {
    const place = fc.record({ file: fc.constantFrom("a", "b", "c"), offset: fc.nat(2 ** 40) })
    fc.assert(
      fc.property(fc.array(place), (given) => {
        const { files, fileOf, offsets } = pixelPlaces(given)
        expect(given.map((_, i) => ({ file: files[fileOf[i]!], offset: offsets[i] }))).toEqual(given)
        expect(files).toEqual([...new Set(files)])
      })
    )
  })
})

describe("imageRows", () => {
  it("puts the files together in order", async () => {
    const [a, b] = [await writeArrow([imageBatch(2)]), await writeArrow([imageBatch(3, 2)], "stream")]
    const { rows } = await rowsOf(a, b)
    expect(rows.map(({ image }) => image)).toEqual([0, 1, 2, 3, 4].map((n) => `image-${n}.jpg`))
    expect(rows.map(({ place }) => place.file)).toEqual([a, a, b, b, b])
  })

  it("names what is wrong with a file", async () => {
    const missing = join(folder, "missing.arrow")
    expect((await failureOf(missing)).message).toBe(`${missing}: cannot be read as images: there is no such file`)

    const text = join(folder, "text.arrow")
    await writeFile(text, "image,person,camera\n".repeat(50))
    expect((await failureOf(text))._tag).toBe("ArtifactUnreadable")

    const noise = join(folder, "noise.arrow")
    await writeFile(noise, Buffer.from("89504e470d0a1a0a0000000d49484452", "hex"))
    expect((await failureOf(noise))._tag).toBe("ArtifactUnreadable")

    const empty = await writeArrow([])
    expect((await failureOf(empty)).message).toContain("it is empty")
  })

  it("names a missing or mistyped column", async () => {
    const without = await writeArrow([rearranged(imageBatch(2), ["image", "person", "pixels"])])
    const error = await failureOf(without)
    expect(error.message).toBe(
      `${without}: column "camera" of images: expected int32, found no such column (it has image, person, pixels)`
    )
  })

  it("refuses nulls where there must be none", async () => {
    const batch = rearranged(imageBatch(2), ["image", "person", "camera", "pixels"])
    const nulls = vectorFromArray([1, null], new Int32()).data[0]!
    const children = batch.data.children.map((child, i) => (i === 2 ? nulls : child))
    const type = new Struct(batch.schema.fields)
    const file = await writeArrow([new RecordBatch(batch.schema, makeData({ type, length: 2, children }))])
    expect((await failureOf(file)).message).toBe(`${file}: column "camera" of images: expected int32, found 1 nulls`)
  })

  it("refuses pixels of another size than the metadata says", async () => {
    const batch = imageBatch(2)
    const texts = new Map([...batch.schema.metadata, ["height", "4"]])
    const file = await writeArrow([new RecordBatch(new Schema(batch.schema.fields, texts), batch.data)])
    expect((await failureOf(file)).message).toBe(
      `${file}: column "pixels" of images: expected fixed_size_binary[24] (height 4 · width 2 · 3, as its metadata says), found FixedSizeBinary[18]`
    )
  })

  it("refuses images of different sizes", async () => {
    const [a, b] = [await writeArrow([imageBatch(2)]), await writeArrow([imageBatch(2, 2, { height: 4, width: 2 })])]
    expect((await failureOf(a, b)).message).toContain(`${b}: cannot be read as images: images of 4×2`)
  })

  it("refuses compressed pixels, whose rows cannot be fetched", async () => {
    const file = await writeArrow([imageBatch(2)])
    const content = await readFile(new URL("../foreign/images-zstd.arrow", import.meta.url))
    await writeFile(file, content)
    expect((await failureOf(file)).message).toContain("its pixels are compressed")
  })

  it("refuses bytes after an Arrow stream's end, which may be images of which a damaged length has cut it off", async () => {
    const file = await writeArrow([imageBatch(3)], "stream")
    await appendFile(file, Buffer.alloc(64, 7))
    expect((await failureOf(file)).message).toContain("64 bytes follow its end")
  })
})
