/** The manifest: keys that do not depend on the order of keys, files that are whole or not there. */
import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import fc from "fast-check"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import {
  type ArtifactFile,
  fileProblem,
  keyOf,
  manifestFile,
  readManifest,
  type StepRecord,
  sha256Of,
  type TaskRecord,
  writeManifest,
  writeWhole
} from "#pipeline/manifest.ts"

let run: string
beforeEach(async () => {
  run = await mkdtemp(join(tmpdir(), "mmt-manifest-"))
})
afterEach(() => rm(run, { recursive: true }))

const step: StepRecord = {
  stage: "cluster",
  version: 1,
  params: { classes: 5, seed: 1 },
  inputs: { embeddings: ["d1"] }
}

describe("the key", () => {
  const shuffled = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(shuffled)
    if (typeof value !== "object" || value === null) return value
    return Object.fromEntries(
      Object.entries(value)
        .reverse()
        .map(([key, inner]) => [key, shuffled(inner)])
    )
  }

  it("does not depend on the order of keys, at any depth", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (params) => {
        const steps = [{ ...step, params }]
        expect(keyOf(shuffled(steps) as typeof steps)).toBe(keyOf(steps))
      })
    )
  })

  it("depends on every stage, version, parameter and input, and on their order", () => {
    const others: ReadonlyArray<ReadonlyArray<StepRecord>> = [
      [step],
      [{ ...step, stage: "embed" }],
      [{ ...step, version: 2 }],
      [{ ...step, params: { classes: 6, seed: 1 } }],
      [{ ...step, params: { classes: 5, seed: 2 } }],
      [{ ...step, params: { classes: 5 } }],
      [{ ...step, inputs: { embeddings: ["d2"] } }],
      [{ ...step, inputs: { embeddings: ["d1", "d2"] } }],
      [{ ...step, inputs: { embeddings: ["d2", "d1"] } }],
      [{ ...step, inputs: { other: ["d1"] } }],
      [step, step]
    ]
    expect(new Set(others.map(keyOf)).size).toBe(others.length)
  })
})

describe("the file", () => {
  const record: TaskRecord = {
    key: keyOf([step]),
    steps: [step],
    outputs: {
      centroids: {
        artifact: "centroids",
        columns: { label: "Int32" },
        files: [{ path: "cluster/centroids.arrow", rows: 5, bytes: 10, sha256: "00", modified: 1700000000000.25 }]
      }
    },
    engine: "tensorflow 2.21.0",
    finished: "2026-01-01T00:00:00.000Z",
    seconds: 0.1,
    training: { steps: 3, stepMillis: 10.5, waitingShare: 0.01 }
  }

  it("is read as it was written", async () => {
    const tasks = new Map([["cluster/epoch-001", record]])
    await Effect.runPromise(writeManifest(run, tasks))
    expect(await Effect.runPromise(readManifest(run))).toEqual(tasks)
    expect(await readdir(run)).toEqual(["manifest.json"])
  })

  it("of a run that does not exist yet holds nothing", async () => {
    expect(await Effect.runPromise(readManifest(join(run, "none")))).toEqual(new Map())
  })

  it.each([
    ["cut off", '{"version":1,"tasks":{'],
    ["of another version", '{"version":2,"tasks":{}}'],
    ["of another kind", "[]"]
  ])("that is %s is refused, with what to do", async (_, text) => {
    await writeFile(manifestFile(run), text)
    const error = await Effect.runPromise(Effect.flip(readManifest(run)))
    expect(error._tag).toBe("ManifestInvalid")
    expect(error.message.startsWith(`${manifestFile(run)}: `)).toBe(true)
    expect(error.message).toMatch(/Choose another run folder, or remove this one to start anew\.$/)
    expect(error.message).not.toContain("\n")
  })
})

describe("writing whole", () => {
  it("replaces what was there", async () => {
    const file = join(run, "deep", "run.yaml")
    await Effect.runPromise(writeWhole(file, "one"))
    await Effect.runPromise(writeWhole(file, "two"))
    expect(await readFile(file, "utf8")).toBe("two")
    expect(await readdir(join(run, "deep"))).toEqual(["run.yaml"])
  })

  it("leaves nothing where it fails", async () => {
    const file = join(run, "taken")
    await mkdir(join(file, "inner"), { recursive: true })
    const error = await Effect.runPromise(Effect.flip(writeWhole(file, "text")))
    expect(error).toMatchObject({ _tag: "WriteFailed", file })
    expect(error.message).toMatch(/^.*taken: cannot be written: E(ISDIR|EXIST|NOTEMPTY): .*$/)
    expect(await readdir(run)).toEqual(["taken"])
  })
})

describe("a recorded file", () => {
  const record = async (text: string): Promise<ArtifactFile> => {
    const path = join(run, "a.arrow")
    await writeFile(path, text)
    const { size, mtimeMs } = await stat(path)
    return { path: "a.arrow", rows: 1, bytes: size, sha256: await sha256Of(path), modified: mtimeMs }
  }

  it("is right while its time of change is the recorded one, without being read", async () => {
    const file = await record("bytes")
    expect(await fileProblem(run, file)).toBeUndefined()
    expect(await fileProblem(run, { ...file, sha256: "another" })).toBeUndefined()
  })

  it("is right when it was only touched", async () => {
    const file = await record("bytes")
    await utimes(join(run, "a.arrow"), 1, 1)
    expect(await fileProblem(run, file)).toBeUndefined()
  })

  it("is wrong when it is missing, of another length, or of other bytes", async () => {
    const file = await record("bytes")
    await writeFile(join(run, "a.arrow"), "byt")
    expect(await fileProblem(run, file)).toBe("a.arrow has 3 bytes, 5 were written")
    await writeFile(join(run, "a.arrow"), "sbyte")
    expect(await fileProblem(run, { ...file, modified: 0 })).toBe("a.arrow was changed")
    await rm(join(run, "a.arrow"))
    expect(await fileProblem(run, file)).toBe("a.arrow is missing")
  })
})
