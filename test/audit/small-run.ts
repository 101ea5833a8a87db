/** A small tapped run for questions and audits, and ways to damage copies of it. */
import { createHash } from "node:crypto"
import { cpSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type RecordBatch, tableFromIPC } from "apache-arrow"
import { Effect, Stream } from "effect"
import { writeBatches } from "#pipeline/arrow-file.ts"
import { keyOf, type TaskRecord } from "#pipeline/manifest.ts"
import { drawPair, mmt, writeRunFile } from "../commands/mmt.ts"

const smallRun = `name: small
seed: 5
data:
  source: { root: pair/source }
  target: { root: pair/target }
  height: 32
  width: 16
model:
  backbone: { stem: { kernel: 3, stride: 2, channels: 4, maxPool: false }, widths: [4, 4, 8, 8], blocks: [1, 1, 1, 1], strides: [1, 2, 2, 1] }
pretrain: { epochs: 1, iterations: 2, identities: 4, instances: 2, pad: 2, milestones: [1] }
adapt: { epochs: 2, iterations: 3, classes: 5, identities: 2, instances: 2, pad: 2 }
evaluate: { every: 2 }
audit: { tap: [augment, train-step], every: 2 }
`

/** Runs it in a new folder, the home of `runs/small`. */
export const makeSmallRun = async (): Promise<string> => {
  const home = mkdtempSync(join(tmpdir(), "mmt-audit-"))
  await drawPair(home)
  writeRunFile(home, smallRun, "small.yaml")
  const { code, err } = await mmt(home, "run", "small.yaml", "--threads", "1")
  if (code !== 0) throw new Error(err)
  return home
}

/** A copy of the run, to be damaged. */
export const copyOf = (home: string): string => {
  const folder = mkdtempSync(join(home, "copy-"))
  rmSync(folder, { recursive: true })
  cpSync(join(home, "runs/small"), folder, { recursive: true, preserveTimestamps: true })
  return folder
}

interface Manifest {
  tasks: Record<string, TaskRecord>
}

/** Changes the manifest; afterwards each task's key is that of what it records. */
export const editManifest = (
  folder: string,
  edit: (text: string) => string,
  more: (manifest: Manifest) => void = () => {}
) => {
  const file = join(folder, "manifest.json")
  const manifest = JSON.parse(edit(readFileSync(file, "utf8"))) as Manifest
  more(manifest)
  for (const record of Object.values(manifest.tasks)) Object.assign(record, { key: keyOf(record.steps) })
  writeFileSync(file, JSON.stringify(manifest))
}

const digestOf = (file: string) => createHash("sha256").update(readFileSync(file)).digest("hex")

/**
 * Changes a file's record batches and covers it up: the manifest has the new checksum, in the file's record and wherever
 * it went in.
 */
export const forge = async (
  folder: string,
  path: string,
  change: (batch: RecordBatch, index: number) => RecordBatch | undefined
) => {
  const file = join(folder, path)
  const was = digestOf(file)
  // A copy: the batches are views of the bytes that they were read from.
  const table = tableFromIPC(Uint8Array.from(readFileSync(file)))
  const changed = table.batches.map((batch, index) => change(batch, index) ?? batch)
  await Effect.runPromise(writeBatches(() => file, Number.POSITIVE_INFINITY, Stream.fromIterable(changed)))
  const rows = changed.reduce((sum, { numRows }) => sum + numRows, 0)
  editManifest(
    folder,
    (text) => text.replaceAll(was, digestOf(file)),
    ({ tasks }) => {
      for (const { outputs, taps = {} } of Object.values(tasks))
        for (const { files } of [...Object.values(outputs), ...Object.values(taps)])
          for (const one of files) if (one.path === path) Object.assign(one, { bytes: statSync(file).size, rows })
    }
  )
}
