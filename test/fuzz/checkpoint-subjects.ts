/** Foreign checkpoints: `.pth` of both kinds and safetensors. */
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import fc from "fast-check"
import { readCheckpointFile } from "#model/checkpoint-files/read.ts"
import type { Range } from "./edits.ts"
import { digestOf, type Example, type Subject } from "./subject.ts"

const folder = fileURLToPath(new URL("../golden/checkpoint/", import.meta.url))
const golden = JSON.parse(readFileSync(`${folder}expected.json`, "utf8")) as { must_load: Record<string, unknown> }

const read: Subject["read"] = (file) =>
  Effect.map(readCheckpointFile(file), ({ states, notes }) => {
    const tensors = [...states].flatMap(([key, state]) =>
      [...state].map(([name, tensor]) => [key, name, tensor.dtype, tensor.shape, tensor.values()] as const)
    )
    return {
      shape: digestOf(tensors.map(([, , dtype, shape]) => [dtype, shape])),
      values: digestOf([tensors, [...notes]])
    }
  })

const startsWith = (bytes: Buffer, text: string) => bytes.toString("latin1", 0, text.length) === text

const examplesOf = (structure: (bytes: Buffer) => ReadonlyArray<Range>, is: (bytes: Buffer, file: string) => boolean) =>
  readdirSync(folder)
    .filter((file) => file in golden.must_load && file !== "big_endian.pth")
    .map((name): Example => {
      const bytes = readFileSync(folder + name)
      return { name, bytes, structure: structure(bytes) }
    })
    .filter(({ bytes, name }) => is(bytes, name))

/** The headers of a zip archive: its first local header with the pickle, and its directory. */
const zipStructure = (bytes: Buffer): ReadonlyArray<Range> => [
  [0, Math.min(512, bytes.length)],
  [Math.max(0, bytes.indexOf("PK\u0001\u0002", 0, "latin1")), bytes.length]
]

const headerOf = (bytes: Buffer): ReadonlyArray<Range> => [
  [0, Math.min(bytes.length, 8 + Number(bytes.readBigUInt64LE(0)))]
]

/** A safetensors file of any header: right, nearly right, and wrong. */
const drawnSafetensors = fc
  .tuple(
    fc.dictionary(
      fc.oneof(fc.string(), fc.constantFrom("w", "__metadata__", "__proto__", "constructor")),
      fc.oneof(
        fc.record({
          dtype: fc.constantFrom("F32", "I64", "BF16", "F8", "toString"),
          shape: fc.array(fc.oneof(fc.integer({ min: -2, max: 5 }), fc.double()), { maxLength: 4 }),
          data_offsets: fc.array(fc.oneof(fc.integer({ min: -8, max: 64 }), fc.constant(2 ** 53)), { maxLength: 3 })
        }),
        fc.jsonValue()
      )
    ),
    fc.uint8Array({ maxLength: 64 })
  )
  .map(([header, data]) => {
    const json = Buffer.from(JSON.stringify(header))
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(json.length))
    return Buffer.concat([length, json, data])
  })

/** What the pickle machine knows and what it must refuse, in any order, behind the start of a legacy file. */
const opcodes = [..."\x80()N.J]}Kh q\x85\x86\x87\x88\x89\x8aMXcRQtusatebo0281GT\x94\x93\x8c"].map((one) =>
  one.charCodeAt(0)
)
const drawnPickle = fc
  .array(
    fc.oneof(
      fc.constantFrom(...opcodes).map((code) => [code]),
      fc.array(fc.nat(255), { maxLength: 6 })
    ),
    {
      maxLength: 60
    }
  )
  .map((parts) => {
    const [legacy] = examplesOf(
      () => [],
      (bytes) => startsWith(bytes, "\x80\x02\x8a\x0a")
    )
    return Buffer.concat([legacy!.bytes.subarray(0, 15 + 6), Buffer.from(parts.flat())])
  })

export const checkpointSubjects: ReadonlyArray<Subject> = [
  {
    name: ".pth zip",
    ending: ".pth",
    examples: examplesOf(zipStructure, (bytes) => startsWith(bytes, "PK")),
    read,
    unnoticed: "nothing"
  },
  {
    name: ".pth of before 1.6",
    ending: ".pth",
    examples: examplesOf(
      (bytes) => [[0, bytes.length]],
      (bytes) => startsWith(bytes, "\x80\x02\x8a\x0a")
    ),
    drawn: drawnPickle,
    read,
    unnoticed: "anything"
  },
  {
    name: "safetensors",
    ending: ".safetensors",
    examples: examplesOf(
      (bytes) => (startsWith(bytes, "PK") ? [] : headerOf(bytes)),
      (_, name) => name.endsWith(".safetensors")
    ),
    drawn: drawnSafetensors,
    read,
    unnoticed: "anything"
  }
]
