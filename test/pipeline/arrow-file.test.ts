/** Arrow files: whole or not there, read in both formats, and what is said of those that cannot be read or written. */
import { createHash } from "node:crypto"
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Field, makeData, RecordBatch, Schema, Struct, Table, tableFromIPC, tableToIPC } from "apache-arrow"
import { Effect, Fiber, Stream } from "effect"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { inletOf, readBatches, writeBatches } from "#pipeline/arrow-file.ts"
import { batchOf, viewOf } from "#schemas/artifact.ts"
import { embeddings } from "#schemas/embeddings.ts"
import { images } from "#schemas/images.ts"

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mmt-arrow-"))
})
afterEach(() => rm(folder, { recursive: true }))

const at = (name: string) => join(folder, name)

/** `rows` embeddings of two values, named from `first` on. */
const batch = (first: number, rows: number): RecordBatch => {
  const range = Array.from({ length: rows }, (_, i) => first + i)
  return batchOf(
    embeddings,
    {
      image: range.map((i) => `${i}.jpg`),
      person: Int32Array.from(range),
      camera: Int32Array.from(range, () => 1),
      embedding: Float32Array.from(range.flatMap((i) => [i, -i]))
    },
    { networks: "student-1" }
  )
}

/** A batch with columns of these names that hold what those of `one` hold. */
const columnsOf = (one: RecordBatch, from: ReadonlyArray<readonly [name: string, of: string]>): RecordBatch => {
  const places = from.map(([, of]) => one.schema.names.indexOf(of))
  const fields = from.map(([name], i) => new Field(name, one.schema.fields[places[i]!]!.type, false))
  const children = places.map((place) => one.data.children[place]!)
  const data = makeData({ type: new Struct(fields), length: one.numRows, nullCount: 0, children })
  return new RecordBatch(new Schema(fields, one.schema.metadata), data)
}

const all = Number.POSITIVE_INFINITY
const write = <E>(batches: Stream.Stream<RecordBatch, E>, file = at("a.arrow")) =>
  Effect.runPromise(writeBatches(() => file, all, batches))
const written = (...batches: ReadonlyArray<RecordBatch>) => write(Stream.fromIterable(batches))

const read = (file: string) => Effect.runPromise(Stream.runCollect(readBatches(embeddings, file)))
const names = (batches: ReadonlyArray<RecordBatch>) => batches.flatMap((one) => viewOf(embeddings, one).image)
const failure = (file: string) => Effect.runPromise(Effect.flip(Stream.runCollect(readBatches(embeddings, file))))

describe("writing", () => {
  it("refuses a batch with other columns than the first: Arrow's writer would end the file before it, in silence", async () => {
    const other = columnsOf(batch(3, 2), [["image", "image"]])
    await expect(written(batch(0, 3), other)).rejects.toThrow(
      `${at("a.arrow")}: cannot be written: its record batches do not all have the same columns`
    )
    expect(await readdir(folder)).toEqual([])
  })

  it("says what it wrote", async () => {
    const files = await written(batch(0, 3), batch(3, 2))
    const bytes = await readFile(at("a.arrow"))
    expect(files).toEqual([
      {
        file: at("a.arrow"),
        rows: 5,
        bytes: bytes.length,
        sha256: createHash("sha256").update(bytes).digest("hex"),
        modified: (await stat(at("a.arrow"))).mtimeMs
      }
    ])
    expect(await readdir(folder)).toEqual(["a.arrow"])
  })

  it("keeps record batches, values and metadata, and gives the same bytes each time", async () => {
    const [first] = await written(batch(0, 3), batch(3, 2))
    const table = tableFromIPC(await readFile(at("a.arrow")))
    expect(table.batches.map(({ numRows }) => numRows)).toEqual([3, 2])
    expect(table.schema.metadata.get("networks")).toBe("student-1")
    expect(names(table.batches)).toEqual(["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg"])
    const [second] = await write(Stream.make(batch(0, 3), batch(3, 2)), at("b.arrow"))
    expect(second!.sha256).toBe(first!.sha256)
  })

  it("makes a new file when one is full, of whole record batches", async () => {
    const batches = Stream.make(batch(0, 3), batch(3, 3), batch(6, 3), batch(9, 1))
    const nameOf = (index: number) => at(`part-${index}.arrow`)
    const files = await Effect.runPromise(writeBatches(nameOf, 5, batches))
    expect(files.map(({ file, rows }) => [file, rows])).toEqual([
      [at("part-0.arrow"), 6],
      [at("part-1.arrow"), 4]
    ])
    const inlet = inletOf(
      embeddings,
      files.map(({ file }) => file)
    )
    expect(inlet.source).toBe(folder)
    const read = await Effect.runPromise(Stream.runCollect(inlet.batches))
    expect(names(read)).toEqual(Array.from({ length: 10 }, (_, i) => `${i}.jpg`))
  })

  it("of nothing writes no file", async () => {
    expect(await write(Stream.empty)).toEqual([])
    expect(await readdir(folder)).toEqual([])
  })

  it("that fails half-way leaves nothing, and what was there before", async () => {
    const failing = Stream.concat(Stream.make(batch(0, 3), batch(3, 3)), Stream.fail("upstream" as const))
    expect(await Effect.runPromise(Effect.flip(writeBatches(() => at("a.arrow"), all, failing)))).toBe("upstream")
    expect(await readdir(folder)).toEqual([])
    await written(batch(0, 1))
    const before = await readFile(at("a.arrow"))
    await Effect.runPromise(Effect.flip(writeBatches(() => at("a.arrow"), all, failing)))
    expect(await readdir(folder)).toEqual(["a.arrow"])
    expect(await readFile(at("a.arrow"))).toEqual(before)
  })

  it("that is interrupted leaves nothing", async () => {
    const endless = Stream.concat(Stream.make(batch(0, 3)), Stream.never)
    await Effect.runPromise(
      Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(writeBatches(() => at("a.arrow"), all, endless))
        yield* Effect.promise(async () => {
          while ((await readdir(folder)).length === 0) await new Promise((done) => setTimeout(done, 2))
        })
        yield* Fiber.interrupt(fiber)
      })
    )
    expect(await readdir(folder)).toEqual([])
  })

  it("to a full disk fails with the system's reason and leaves nothing", async () => {
    // The file is written under this name first; /dev/full takes no byte.
    await symlink("/dev/full", at(`.a.arrow.${process.pid}.partial`))
    const error = await Effect.runPromise(Effect.flip(writeBatches(() => at("a.arrow"), all, Stream.make(batch(0, 3)))))
    expect(error).toMatchObject({ _tag: "WriteFailed", file: at("a.arrow") })
    expect(error.message).toMatch(/^\/.*a\.arrow: cannot be written: ENOSPC: no space left on device, .*$/)
    expect(await readdir(folder)).toEqual([])
  })

  it.each([
    ["where nobody may write", "/sys/mmt-test/a.arrow", /cannot be written: E(PERM|ACCES|ROFS): .*, mkdir/],
    ["where a file is in the way", "TAKEN/a.arrow", /cannot be written: E(EXIST|NOTDIR): .*, mkdir/]
  ])("%s fails with the file's name", async (_, name, message) => {
    await writeFile(at("taken"), "")
    const file = name.replace("TAKEN", at("taken"))
    const error = await Effect.runPromise(Effect.flip(writeBatches(() => file, all, Stream.make(batch(0, 1)))))
    expect(error.message.startsWith(`${file}: `)).toBe(true)
    expect(error.message).toMatch(message)
  })

  it("where a folder has its name fails and leaves nothing", async () => {
    await mkdir(at("a.arrow"))
    const error = await Effect.runPromise(Effect.flip(writeBatches(() => at("a.arrow"), all, Stream.make(batch(0, 1)))))
    expect(error.message).toMatch(/a\.arrow: cannot be written: EISDIR: .*, rename/)
    expect(await readdir(folder)).toEqual(["a.arrow"])
  })
})

describe("reading", () => {
  it("takes the stream format, with and without its end mark", async () => {
    const stream = tableToIPC(new Table([batch(0, 3), batch(3, 2)]), "stream")
    await writeFile(at("s.arrows"), stream)
    expect(names(await read(at("s.arrows")))).toHaveLength(5)
    await writeFile(at("s.arrows"), stream.subarray(0, -8))
    expect(names(await read(at("s.arrows")))).toHaveLength(5)
  })

  it("takes columns in any order and lets others through", async () => {
    const one = batch(0, 3)
    const own = one.schema.names.map((name) => [String(name), String(name)] as const)
    await written(columnsOf(one, [["frame", "person"], ...own.toReversed()]))
    const [back] = await read(at("a.arrow"))
    expect(viewOf(embeddings, back!)).toEqual(viewOf(embeddings, one))
    expect([...back!.getChild("frame")!]).toEqual([0, 1, 2])
  })

  it("holds one record batch at a time", async () => {
    await written(...Array.from({ length: 5 }, (_, i) => batch(i, 1)))
    const sizes: Array<number> = []
    await Effect.runPromise(
      Stream.runForEachArray(readBatches(embeddings, at("a.arrow")), (part) =>
        Effect.sync(() => sizes.push(part.length))
      )
    )
    expect(sizes).toEqual([1, 1, 1, 1, 1])
  })

  it("names a missing column with those that are there", async () => {
    const kept = [
      ["image", "image"],
      ["embedding", "embedding"]
    ] as const
    await written(columnsOf(batch(0, 1), kept))
    const error = await failure(at("a.arrow"))
    expect(error).toMatchObject({ _tag: "ColumnError", column: "person" })
    expect(error.message).toBe(
      `${at("a.arrow")}: column "person" of embeddings: expected int32, found no such column (it has image, embedding)`
    )
  })

  it("names a column of another type", async () => {
    const mixed = [
      ["image", "image"],
      ["person", "person"],
      ["camera", "image"],
      ["embedding", "embedding"]
    ] as const
    await written(columnsOf(batch(0, 1), mixed))
    expect((await failure(at("a.arrow"))).message).toBe(
      `${at("a.arrow")}: column "camera" of embeddings: expected int32, found Utf8`
    )
  })

  it("names metadata that is missing", async () => {
    const pixels = Uint8Array.from({ length: 6 })
    const view = { image: ["a"], person: Int32Array.of(1), camera: Int32Array.of(1), pixels }
    const whole = batchOf(images, view, { height: 1, width: 2, dataset: "d", split: "train" })
    const metadata = new Map([...whole.schema.metadata].filter(([key]) => key !== "width"))
    await written(new RecordBatch(new Schema(whole.schema.fields, metadata), whole.data))
    const error = await Effect.runPromise(Effect.flip(Stream.runCollect(readBatches(images, at("a.arrow")))))
    expect(error._tag).toBe("MetadataError")
    expect(error.message).toMatch(/^\/.*a\.arrow: metadata of images: .*"width".*$/)
  })

  it.each<
    readonly [what: string, make: (whole: Uint8Array, stream: Uint8Array) => Uint8Array | string, problem: string]
  >([
    ["empty", () => "", "it is empty"],
    ["a text", () => "image,person,camera\n1.jpg,1,1\n", "it is no Arrow file or stream"],
    ["very short", () => "abc", "it is no Arrow file or stream"],
    ["nothing but zeros", () => new Uint8Array(100), "it is no Arrow file or stream"],
    [
      "cut in half",
      (whole) => whole.subarray(0, whole.length / 2),
      "it is cut off: the end of an Arrow file is missing"
    ],
    ["without its last bytes", (whole) => whole.subarray(0, -3), "it is cut off: the end of an Arrow file is missing"],
    ["only a start", (whole) => whole.subarray(0, 12), "it is cut off: the end of an Arrow file is missing"],
    [
      "a stream cut within a record batch",
      (_, stream) => stream.subarray(0, -40),
      "it ends too early, as an interrupted download or a full disk leaves it"
    ],
    ["a stream cut within its schema", (_, stream) => stream.subarray(0, 40), "it is no Arrow file or stream"]
  ])("says that a file is unreadable: %s", async (_, make, problem) => {
    await written(batch(0, 3))
    const stream = tableToIPC(new Table([batch(0, 3)]), "stream")
    await writeFile(at("b.arrow"), make(await readFile(at("a.arrow")), stream))
    const error = await failure(at("b.arrow"))
    expect(error).toMatchObject({ _tag: "ArtifactUnreadable", source: at("b.arrow") })
    expect(error.message).toBe(`${at("b.arrow")}: cannot be read as embeddings: ${problem}`)
  })

  it("says that there is no file, or a folder", async () => {
    expect((await failure(at("none.arrow"))).message).toBe(
      `${at("none.arrow")}: cannot be read as embeddings: there is no such file`
    )
    expect((await failure(folder)).message).toBe(`${folder}: cannot be read as embeddings: it is a folder`)
  })

  it("never gives a batch of a file of random bytes between the marks", async () => {
    const bytes = new Uint8Array(2000).map((_, i) => (i * 7919) >> 3)
    bytes.set(Buffer.from("ARROW1\0\0"))
    bytes.set(Buffer.from("ARROW1"), bytes.length - 6)
    await writeFile(at("r.arrow"), bytes)
    expect((await failure(at("r.arrow")))._tag).toMatch(/ArtifactUnreadable|ColumnError/)
  })
})
