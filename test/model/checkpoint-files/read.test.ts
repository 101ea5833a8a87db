/** Checkpoint files: every golden one loads with its values or is refused, and no damaged one is taken for whole. */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import fc from "fast-check"
import { afterAll, describe, expect, it } from "vitest"
import {
  type CheckpointFile,
  checkpointOfBytes,
  readCheckpointFile,
  type StateDict
} from "#model/checkpoint-files/read.ts"
import { Refusal } from "#model/checkpoint-files/refusal.ts"
import { safetensorsBytes } from "#model/checkpoint-files/safetensors.ts"
import type { Values } from "#model/checkpoint-files/tensor.ts"
import { batchOf } from "#schemas/artifact.ts"
import { checkpoint } from "#schemas/checkpoint.ts"
import { arrowBytes } from "../../schemas/arrow-bytes.ts"

const folder = fileURLToPath(new URL("../../golden/checkpoint/", import.meta.url))
const bytesOf = (file: string) => new Uint8Array(readFileSync(join(folder, file)))

interface Expected {
  readonly dtype: string
  readonly shape: ReadonlyArray<number>
  readonly values: ReadonlyArray<number | string>
}
interface Golden {
  readonly must_load: Readonly<
    Record<string, { readonly optional?: boolean; readonly expect: Record<string, Expected> }>
  >
  readonly must_refuse: Readonly<Record<string, { readonly why: string; readonly policy?: string }>>
  readonly marker_file: string
}
const golden = JSON.parse(readFileSync(join(folder, "expected.json"), "utf8")) as Golden

const read = (file: string) => Effect.runPromise(readCheckpointFile(join(folder, file)))

const plain = (values: Values) =>
  Array.from(values as ArrayLike<number | bigint>, (v) => (typeof v === "bigint" ? String(v) : v))
const contentOf = (state: StateDict) =>
  Object.fromEntries(
    [...state].map(([name, { dtype, shape, values }]) => [name, { dtype, shape, values: plain(values()) }])
  )
const statesOf = ({ states }: CheckpointFile) => [...states].map(([key, state]) => [key, contentOf(state)] as const)

afterAll(() => expect(existsSync(golden.marker_file)).toBe(false))

describe("golden files", () => {
  it("are all there", () => {
    const listed = [...Object.keys(golden.must_load), ...Object.keys(golden.must_refuse), "expected.json"]
    expect(readdirSync(folder).sort()).toEqual(listed.sort())
  })

  // What the set leaves to a reader: numbers of big-endian machines are refused, all else of it loads.
  const refused = ["big_endian.pth"]

  it.each(Object.keys(golden.must_load).filter((file) => !refused.includes(file)))(
    "%s loads with its values",
    async (file) => {
      const { expect: tensors } = golden.must_load[file]!
      const found = statesOf(await read(file))
      expect(found).toHaveLength(1)
      expect(Object.keys(found[0]![1]).sort()).toEqual(Object.keys(tensors).sort())
      for (const [name, { dtype, shape, values }] of Object.entries(tensors))
        expect(found[0]![1][name], name).toEqual({
          dtype,
          shape,
          values: values.map((v) => (dtype === "int64" ? v : Number(v)))
        })
    }
  )

  it("keeps what lies beside the tensors", async () => {
    const { states, notes } = await read("trainer_checkpoint.pth")
    expect([...states.keys()]).toEqual(["state_dict"])
    expect(Object.fromEntries(notes)).toEqual({ epoch: 7, best_mAP: 0.625 })
  })

  /** Of each file what its error says. */
  const reasons: Readonly<Record<string, string>> = {
    "evil_os_system.pth": "its pickle names posix.system,",
    "evil_nt_system_in_state_dict.pth": "its pickle names os.system,",
    "evil_after_valid_tensor.pth": "its pickle names posix.system,",
    "evil_builtins_eval.pth": "its pickle names builtins.eval,",
    "evil_stack_global_proto4.pth": "its pickle names posix.system,",
    "evil_inst_opcode.pth": "the opcode STRING",
    "evil_obj_opcode.pth": "its pickle names posix.system,",
    "evil_newobj_build.pth": "the opcode NEWOBJ",
    "evil_getattr.pth": "its pickle names builtins.getattr,",
    "evil_torch_prefix.pth": "its pickle names torch.",
    "evil_dotted_global.pth": "from an empty stack",
    "evil_storage_type.pth": "its pickle names ",
    "whole_module.pth": "its pickle names torch.nn.modules.linear.Linear,",
    "bad_persistent_tag.pth": "a persistent id that is no storage",
    "truncated_half.pth": "cut off",
    "truncated_tail.pth": "cut off",
    "storage_too_short.pth": "bytes, expected",
    "view_out_of_bounds.pth": "not within its storage of 6 elements",
    "offset_out_of_bounds.pth": "not within its storage of 6 elements",
    "negative_offset.pth": "at -",
    "negative_stride.pth": "with strides [3,-1]",
    "negative_size.pth": "shape [-",
    "huge_numel.pth": "more than the file can hold",
    "huge_stride0.pth": "not within its storage of 6 elements",
    "missing_storage.pth": 'its storage "0" is missing',
    "storage_key_traversal.pth": "is missing",
    "pickle_truncated.pth": "its pickle is cut off",
    "pickle_huge_string.pth": "pickle",
    "pickle_unknown_opcode.pth": "the opcode 0x",
    "pickle_stack_underflow.pth": "from an empty stack",
    "bad_crc.pth": "does not have its CRC-32",
    "not_a_zip.pth": "it is none of PyTorch's .pth",
    "empty.pth": "it is empty",
    "no_pickle.pth": "with 0 data.pkl",
    "st_header_too_long.safetensors": "its header is said to have",
    "st_header_not_json.safetensors": "its header: ",
    "st_offset_past_end.safetensors": '"w" starts at 8',
    "st_shape_mismatch.safetensors": "its shape [",
    "st_overlap.safetensors": "where another ends",
    "st_negative_offset.safetensors": 'tensor "',
    "st_bad_dtype.safetensors": 'tensor "',
    "st_truncated.safetensors": "the data at",
    "big_endian.pth": "its numbers are big-endian"
  }

  it.each([...Object.keys(golden.must_refuse), ...refused])("%s is refused by name", async (file) => {
    const error = await Effect.runPromise(Effect.flip(readCheckpointFile(join(folder, file))))
    expect(error._tag).toBe("CheckpointRefused")
    expect(error.message).toMatch(new RegExp(`^${join(folder, file)}: refused as a checkpoint: `))
    expect(error.problem).toContain(reasons[file])
    expect(error.problem.length).toBeLessThan(400)
  })
})

describe("files that are none", () => {
  it.each([
    ["none.pth", "there is no such file"],
    ["..", "it is a folder"]
  ])("are named: %s", async (file, problem) => {
    const error = await Effect.runPromise(Effect.flip(readCheckpointFile(join(folder, file))))
    expect(error.problem).toBe(problem)
  })
})

/** A checkpoint artifact of two networks. */
const arrowFile = arrowBytes([
  batchOf(
    checkpoint,
    {
      network: ["student-1", "student-1", "teacher-1"],
      name: ["a", "adam.m:a", "count"],
      dtype: ["float32", "float32", "int64"],
      shape: [[2, 1], [2, 1], []],
      data: [1, 2, 3].map((byte) => new Uint8Array(8).fill(byte))
    },
    { model: "{}" }
  )
])

describe("a checkpoint.arrow", () => {
  it("gives its networks, without the optimizer", () => {
    const file = checkpointOfBytes(arrowFile, "checkpoint.arrow")
    const value = new Float32Array(Uint8Array.of(1, 1, 1, 1).buffer)[0]!
    expect(statesOf(file)).toEqual([
      ["student-1", { a: { dtype: "float32", shape: [2, 1], values: [value, value] } }],
      ["teacher-1", { count: { dtype: "int64", shape: [], values: [String(0x0303030303030303n)] } }]
    ])
  })
})

/** What a file's bytes hold, or why they are refused; anything else that is thrown fails the test. */
const outcome = (bytes: Uint8Array, file: string) => {
  try {
    return JSON.stringify(statesOf(checkpointOfBytes(bytes, file)))
  } catch (cause) {
    if (cause instanceof Refusal) return cause
    throw cause
  }
}

describe("damaged files", () => {
  const files = [
    "state_dict.pth",
    "trainer_checkpoint.pth",
    "protocol4.pth",
    "deflated.pth",
    "legacy_format.pth",
    "state_dict.safetensors"
  ]
  const contents = new Map([...files.map((name) => [name, bytesOf(name)] as const), ["checkpoint.arrow", arrowFile]])
  // What is inside an Arrow file is Arrow's to check.
  const file = fc.constantFrom(...files)
  const whole = new Map([...contents].map(([name, bytes]) => [name, outcome(bytes, name)]))
  /** Formats without checksums: a changed value cannot be told. */
  const unchecked = (name: string) => /legacy|safetensors/.test(name)

  it("are refused or hold what they held, whichever bits are flipped", () => {
    const flips = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 7 })), { minLength: 1, maxLength: 3 })
    fc.assert(
      fc.property(file, flips, (name, bits) => {
        const bytes = contents.get(name)!.slice()
        for (const [at, bit] of bits) bytes[at % bytes.length]! ^= 1 << bit
        const found = outcome(bytes, name)
        if (!(found instanceof Refusal) && !unchecked(name)) expect(found).toBe(whole.get(name))
      }),
      { numRuns: 3000 }
    )
  })

  it("are refused wherever they are cut off", () => {
    for (const [name, bytes] of contents)
      for (let length = 0; length < bytes.length; length++)
        expect(outcome(bytes.subarray(0, length), name), `${name} of ${length} bytes`).toBeInstanceOf(Refusal)
  })

  it("are refused with bytes of anything", () => {
    const start = fc.constantFrom("PK\u0003\u0004", "ARROW1\0\0", "", "\u0008\0\0\0\0\0\0\0{")
    fc.assert(
      fc.property(start, fc.uint8Array({ maxLength: 300 }), (head, tail) => {
        expect(outcome(Buffer.concat([Buffer.from(head, "latin1"), tail]), "any.pth")).toBeInstanceOf(Refusal)
      })
    )
  })
})

describe("safetensors", () => {
  it("come back as they were written", () => {
    const floats = fc.array(fc.float({ noNaN: true }), { maxLength: 9 }).map((values) => Float32Array.from(values))
    const longs = fc
      .array(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), { maxLength: 5 })
      .map((values) => BigInt64Array.from(values))
    const tensors = fc.dictionary(fc.string(), fc.oneof(floats, longs)).filter((given) => !("__metadata__" in given))
    fc.assert(
      fc.property(tensors, fc.dictionary(fc.string(), fc.string()), (given, notes) => {
        const written = new Map(
          Object.entries(given).map(([name, values]) => [name, { shape: [1, values.length], values }])
        )
        const file = checkpointOfBytes(safetensorsBytes(written, notes), "a.safetensors")
        expect(Object.fromEntries(file.notes)).toEqual(notes)
        const found = file.states.get("")!
        expect([...found.keys()].sort()).toEqual([...written.keys()].sort())
        for (const [name, { shape, values }] of written)
          expect({ shape: found.get(name)!.shape, values: found.get(name)!.values() }).toEqual({ shape, values })
      })
    )
  })
})
