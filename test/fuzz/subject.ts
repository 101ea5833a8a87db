/** What is fuzzed: a kind of file, whole examples of it, and the project's own way of reading it. */
import { createHash } from "node:crypto"
import type { Effect, Scope } from "effect"
import type fc from "fast-check"
import type { Session } from "#engine/session.ts"
import type { Range } from "./edits.ts"

/** What was read of a file: how many of what there is, and a digest of the values. */
export interface Content {
  readonly shape: string
  readonly values: string
}

export interface Example {
  readonly name: string
  readonly bytes: Buffer
  /** Where no values lie; edits are drawn from there half of the time. */
  readonly structure: ReadonlyArray<Range>
  /** Not to be read as it stands, and a start for what is. */
  readonly isRefused?: boolean
}

export interface Subject {
  readonly name: string
  /** The ending of its files. */
  readonly ending: string
  readonly examples: ReadonlyArray<Example>
  /** Files that no example is near to. */
  readonly drawn?: fc.Arbitrary<Buffer>
  /** Reads a file by all the ways that the project reads it. */
  readonly read: (file: string, example: Example) => Effect.Effect<Content, unknown, Session | Scope.Scope>
  /**
   * What a reader may take for a file without noticing that it is another: `nothing`, where checksums cover all of it;
   * `values`, where it must have the same shape; `anything` that has the form of a whole file.
   */
  readonly unnoticed: "nothing" | "values" | "anything"
}

/** A digest of values, typed arrays and bigints among them. */
export const digestOf = (value: unknown): string => {
  const plain = (_: string, inner: unknown): unknown => {
    if (typeof inner === "bigint") return String(inner)
    if (typeof inner === "number" && !Number.isFinite(inner)) return String(inner)
    if (ArrayBuffer.isView(inner))
      return Buffer.from(inner.buffer, inner.byteOffset, inner.byteLength).toString("base64")
    return inner instanceof Map ? [...inner] : inner
  }
  return createHash("sha256").update(JSON.stringify(value, plain)).digest("hex")
}
