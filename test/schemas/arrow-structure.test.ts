/** Whether a file is a whole Arrow file: whole ones pass, whatever wrote them; damaged structure is named with its place. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { arrowBytesProblem } from "#schemas/arrow-structure.ts"
import { batchOf } from "#schemas/artifact.ts"
import { embeddings } from "#schemas/embeddings.ts"
import { arrowBytes, arrowFormats } from "./arrow-bytes.ts"

const folder = join(import.meta.dirname, "..")
const foreign = ["foreign", "golden"].flatMap((name) =>
  readdirSync(join(folder, name), { recursive: true, encoding: "utf8" })
    .filter((file) => /\.arrows?$/.test(file))
    .map((file) => join(name, file))
)

const rows = (first: number) =>
  batchOf(
    embeddings,
    {
      image: ["a.jpg", "b.jpg", "c.jpg"],
      person: Int32Array.of(first, 1, 2),
      camera: Int32Array.of(1, 2, 3),
      embedding: Float32Array.of(1, 0, 0, 1, 1, 0)
    },
    {}
  )
const file = Buffer.from(arrowBytes([rows(0), rows(7)]))
const stream = Buffer.from(arrowBytes([rows(0), rows(7)], "stream"))

/** The file with a number in another place. */
const changed = (bytes: Buffer, at: number, value: number) => {
  const copy = Buffer.from(bytes)
  copy.writeInt32LE(value, at)
  return copy
}

describe("arrowBytesProblem", () => {
  it.each(foreign)("passes %s", (name) => {
    expect(arrowBytesProblem(readFileSync(join(folder, name)))).toBeUndefined()
  })

  it.each(arrowFormats)("passes what Arrow's own writer makes of none, one and several batches: %s", (format) => {
    for (const batches of [[rows(0)], [rows(0), rows(1), rows(2)], [rows(0).slice(0, 0)]])
      expect(arrowBytesProblem(arrowBytes(batches, format))).toBeUndefined()
  })

  const footerLength = file.readInt32LE(file.length - 10)
  const firstMessage = 8

  it.each([
    ["an empty file", Buffer.alloc(0), "it is empty"],
    ["a text", Buffer.from("image,person\n1,2\n"), "it is no Arrow file or stream"],
    ["a footer of another length", changed(file, file.length - 10, footerLength - 8), "damaged"],
    ["a negative footer", changed(file, file.length - 10, -footerLength), "it is cut off"],
    [
      "a message whose length reaches beyond the file",
      changed(file, firstMessage + 4, 0x7fffffff),
      "it ends too early"
    ],
    [
      "a message that ends the batches too early",
      changed(file, firstMessage + 4, 0),
      "bytes follow its end at byte 16"
    ],
    ["a root that is outside of its message", changed(file, firstMessage + 8, 0x7ffffff0), "is damaged"],
    ["a stream without its schema", stream.subarray(8 + stream.readInt32LE(4)), "it does not start with a schema"],
    ["a stream and another", Buffer.concat([stream, stream]), `${stream.length} bytes follow its end`]
  ])("refuses %s", (_, bytes, problem) => {
    expect(arrowBytesProblem(bytes)).toContain(problem)
  })

  it("refuses every cut of a file, and of a stream all but those between messages", () => {
    for (let length = 0; length < file.length; length++)
      expect(arrowBytesProblem(file.subarray(0, length))).toBeTypeOf("string")
    const whole = Array.from(stream.keys()).filter(
      (length) => arrowBytesProblem(stream.subarray(0, length)) === undefined
    )
    // After the schema, after each batch; the last one with the mark of the end or half of it is the whole stream's.
    expect(whole).toHaveLength(3)
  })

  it("comes to an end for any bytes in headers, and says why", () => {
    fc.assert(
      fc.property(fc.noBias(fc.nat(file.length - 4)), fc.integer(), (at, value) => {
        const began = performance.now()
        arrowBytesProblem(changed(file, at, value))
        arrowBytesProblem(changed(stream, Math.min(at, stream.length - 4), value))
        expect(performance.now() - began).toBeLessThan(500)
      }),
      { numRuns: 500 }
    )
  })
})
