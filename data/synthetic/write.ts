/**
 * Writes the synthetic pair of camera networks: `DIR/source` and `DIR/target` in Market-1501's layout, and
 * `DIR/synthetic.json`, which says what was made. The folder appears whole or not at all.
 */
import { readdir, readFile, rename, rm, writeFile } from "node:fs/promises"
import { availableParallelism } from "node:os"
import { dirname, join, resolve } from "node:path"
import { isDeepStrictEqual } from "node:util"
import { Effect, Option, Schema } from "effect"
import sharp from "sharp"
import { hasCode } from "#data/layout.ts"
import { makeFolder } from "#data/make-folder.ts"
import { DOMAINS, type PlannedImage, planImages, SYNTHETIC_SIZES, SyntheticSizes } from "#data/synthetic/plan.ts"
import { renderImages } from "#data/synthetic/render.ts"

/** Rises whenever the same seed and sizes would give other images. */
export const GENERATOR_VERSION = 1

const RECORD = "synthetic.json"

/** What `synthetic.json` holds. */
export const SyntheticRecord = Schema.Struct({ generator: Schema.Int, seed: Schema.Int, sizes: SyntheticSizes })
export type SyntheticRecord = typeof SyntheticRecord.Type

/** The folder holds something else than the pair that is wanted. */
export class SyntheticFolderTaken extends Schema.TaggedError<SyntheticFolderTaken>()("SyntheticFolderTaken", {
  folder: Schema.String,
  found: Schema.String,
  replaceable: Schema.Boolean
}) {
  override get message() {
    return `${this.folder} already holds ${this.found}\nchoose another folder${this.replaceable ? ", or pass --force to replace it" : ": only a synthetic pair is ever replaced"}`
  }
}

/** The file system refused. */
export class SyntheticWriteFailed extends Schema.TaggedError<SyntheticWriteFailed>()("SyntheticWriteFailed", {
  folder: Schema.String,
  cause: Schema.Defect()
}) {
  override get message() {
    return `cannot write the synthetic pair to ${this.folder}: ${this.cause instanceof Error ? this.cause.message : String(this.cause)}`
  }
}

export type SyntheticError = SyntheticFolderTaken | SyntheticWriteFailed

export interface SyntheticOptions {
  readonly folder: string
  readonly seed: number
  readonly sizes?: SyntheticSizes
  /** Replace another synthetic pair, or make the same one again. */
  readonly force?: boolean
  /** Sheets of images in the making at a time; the bytes do not depend on it. */
  readonly concurrency?: number
  readonly onProgress?: (done: number, total: number) => void
}

export interface SyntheticResult {
  readonly folder: string
  /** Images of the pair. */
  readonly images: number
  /** False when the folder held this very pair already. */
  readonly written: boolean
}

/** Images drawn on one sheet: fewer cost more calls, more do not fit the processor's cache. */
const SHEET = 8

/**
 * Makes the pair of `seed` in `folder`, with all its images, or finds it there. Fails when the folder holds anything else
 * (a pair of other seed or sizes is replaced under `force`), or when the file system refuses.
 */
export const writeSynthetic = Effect.fn("writeSynthetic")(function* (options: SyntheticOptions) {
  const folder = resolve(options.folder)
  const record: SyntheticRecord = {
    generator: GENERATOR_VERSION,
    seed: options.seed,
    sizes: options.sizes ?? SYNTHETIC_SIZES
  }
  const images = planImages(record.sizes)
  const attempt: Attempt = (run) =>
    Effect.tryPromise({ try: run, catch: (cause) => new SyntheticWriteFailed({ folder, cause }) })

  const held = yield* attempt(() => inspect(folder, record, images))
  if (held !== undefined) {
    if (held.same && options.force !== true)
      return { folder, images: images.length, written: false } satisfies SyntheticResult
    if (!(held.replaceable && options.force === true))
      return yield* new SyntheticFolderTaken({ folder, found: held.found, replaceable: held.replaceable })
  }

  const partial = `${folder}.partial-${process.pid}`
  yield* Effect.acquireUseRelease(
    attempt(() => makeFolders(partial, images)),
    () =>
      drawAll(attempt, partial, record, images, options).pipe(
        Effect.andThen(attempt(() => putInPlace(partial, folder)))
      ),
    () => Effect.promise(() => rm(partial, { recursive: true, force: true }))
  )
  return { folder, images: images.length, written: true } satisfies SyntheticResult
})

/** Runs work on the file system; its refusal becomes the typed error. */
type Attempt = <A>(run: () => Promise<A>) => Effect.Effect<A, SyntheticWriteFailed>

/** What lies in the folder already. */
interface Held {
  /** This very pair, whole. */
  readonly same: boolean
  readonly found: string
  /** Nothing but a synthetic pair would be lost. */
  readonly replaceable: boolean
}

/** Undefined when the folder is not there or empty. */
const inspect = async (
  folder: string,
  record: SyntheticRecord,
  images: ReadonlyArray<PlannedImage>
): Promise<Held | undefined> => {
  let names: ReadonlyArray<string>
  try {
    names = await readdir(folder)
  } catch (cause) {
    if (hasCode(cause, "ENOENT")) return undefined
    if (hasCode(cause, "ENOTDIR")) return { same: false, found: "a file of this name", replaceable: false }
    throw cause
  }
  if (names.length === 0) return undefined
  const strange = names.filter((name) => name !== RECORD && !DOMAINS.some((domain) => domain === name))
  const pair = names.includes(RECORD)
  const difference = pair ? await differenceOf(folder, record, images) : "no synthetic pair"
  const others = (strange.length > 0 ? strange : names).toSorted()
  return {
    same: difference === undefined,
    found:
      pair && strange.length === 0
        ? (difference ?? "this pair")
        : `other things (${others.slice(0, 3).join(", ")}${others.length > 3 ? ", …" : ""})`,
    replaceable: pair && strange.length === 0
  }
}

/** What the pair in the folder is instead of the one wanted; undefined when it is that one. */
const differenceOf = async (folder: string, record: SyntheticRecord, images: ReadonlyArray<PlannedImage>) => {
  const text = await readFile(join(folder, RECORD), "utf8")
  const there = Option.getOrUndefined(Schema.decodeOption(Schema.fromJsonString(SyntheticRecord))(text))
  if (there === undefined) return `a ${RECORD} that cannot be read`
  if (isDeepStrictEqual(there, record))
    return (await isWhole(folder, images)) ? undefined : "this pair, but not all of its images"
  const sizes = isDeepStrictEqual(there.sizes, record.sizes) ? "" : ", other sizes"
  return `the synthetic pair of seed ${there.seed}${sizes} (generator ${there.generator})`
}

const foldersOf = (images: ReadonlyArray<PlannedImage>) => [...new Set(images.map((image) => dirname(image.path)))]

const isWhole = async (folder: string, images: ReadonlyArray<PlannedImage>) => {
  const listings = await Promise.all(
    foldersOf(images).map(async (inner) => {
      const names = await readdir(join(folder, inner)).catch(() => [])
      return names.map((name) => `${inner}/${name}`)
    })
  )
  const there = new Set(listings.flat())
  return images.every((image) => there.has(image.path))
}

const makeFolders = async (partial: string, images: ReadonlyArray<PlannedImage>) => {
  await rm(partial, { recursive: true, force: true })
  for (const inner of foldersOf(images)) await makeFolder(join(partial, inner))
}

const drawAll = Effect.fnUntraced(function* (
  attempt: Attempt,
  partial: string,
  record: SyntheticRecord,
  images: ReadonlyArray<PlannedImage>,
  options: SyntheticOptions
) {
  const sheets: Array<ReadonlyArray<PlannedImage>> = []
  for (let start = 0; start < images.length; start += SHEET) sheets.push(images.slice(start, start + SHEET))
  let done = 0
  const drawSheet = (sheet: ReadonlyArray<PlannedImage>) =>
    attempt(async () => {
      const jpegs = await renderImages(record.seed, record.sizes, sheet)
      await Promise.all(jpegs.map((jpeg, i) => writeFile(join(partial, sheet[i]!.path), jpeg)))
      done += sheet.length
      options.onProgress?.(done, images.length)
      // Finished before the folder is cleared away after a failure or an interruption.
    }).pipe(Effect.uninterruptible)
  // One thread an image: the images are small, and several are in the making at a time.
  const threads = sharp.concurrency()
  sharp.concurrency(1)
  yield* Effect.forEach(sheets, drawSheet, {
    concurrency: options.concurrency ?? availableParallelism() + 1,
    discard: true
  }).pipe(Effect.ensuring(Effect.sync(() => sharp.concurrency(threads))))
  yield* attempt(() => writeFile(join(partial, RECORD), `${JSON.stringify(record, null, 2)}\n`))
})

const putInPlace = async (partial: string, folder: string) => {
  const replaced = `${folder}.replaced-${process.pid}`
  await rm(replaced, { recursive: true, force: true })
  await rename(folder, replaced).catch((cause) => {
    if (!hasCode(cause, "ENOENT")) throw cause
  })
  await rename(partial, folder)
  await rm(replaced, { recursive: true, force: true })
}
