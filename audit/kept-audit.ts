/**
 * The outcome of a run's last audit, kept in its folder as `audit.json`, so that what shows the run can show it too without reading
 * every byte again. It names the manifest that it was made of; once that has changed, it is of what the run was.
 */
import { createHash } from "node:crypto"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Option, Schema } from "effect"
import type { Checked } from "#audit/audit.ts"
import { manifestFile, writeWhole } from "#pipeline/manifest.ts"
import packageJson from "../package.json" with { type: "json" }

const Kept = Schema.Struct({
  /** When it ended, as an ISO time. */
  finished: Schema.String,
  /** The version that checked. */
  mmt: Schema.String,
  /** sha256 of the manifest as it was when the audit began; "none" where there was none. */
  manifest: Schema.String,
  checks: Schema.Array(
    Schema.Struct({
      name: Schema.String,
      about: Schema.String,
      unit: Schema.String,
      checked: Schema.Int,
      note: Schema.optionalKey(Schema.String),
      violationCount: Schema.Int,
      violations: Schema.Array(
        Schema.Struct({
          file: Schema.String,
          row: Schema.optionalKey(Schema.Int),
          column: Schema.optionalKey(Schema.String),
          problem: Schema.String
        })
      )
    })
  )
})

export interface KeptAudit {
  readonly finished: string
  readonly mmt: string
  readonly checks: ReadonlyArray<Checked>
  /** Whether the run has made, or lost, anything since. */
  readonly outdated: boolean
}

export const auditFile = (run: string) => join(run, "audit.json")

/** What an audit that begins now is of. */
export const manifestDigest = (run: string): Effect.Effect<string> =>
  Effect.promise(() =>
    readFile(manifestFile(run)).then(
      (bytes) => createHash("sha256").update(bytes).digest("hex"),
      () => "none"
    )
  )

/** Keeps the outcome of an audit that began when the manifest had this digest. */
export const keepAudit = (run: string, manifest: string, checks: ReadonlyArray<Checked>) => {
  const kept: typeof Kept.Type = { finished: new Date().toISOString(), mmt: packageJson.version, manifest, checks }
  return writeWhole(auditFile(run), `${JSON.stringify(kept, null, 1)}\n`)
}

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(Kept))

/** The run's last audit; undefined where it has none, or a file that holds something else. */
export const readAudit = (run: string): Effect.Effect<KeptAudit | undefined> =>
  Effect.gen(function* () {
    const text = yield* Effect.promise(() => readFile(auditFile(run), "utf8").catch(() => ""))
    const kept = Option.getOrUndefined(decode(text))
    if (kept === undefined) return undefined
    const { manifest, ...rest } = kept
    return { ...rest, outdated: manifest !== (yield* manifestDigest(run)) }
  })
