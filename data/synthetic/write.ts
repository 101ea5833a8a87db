/**
 * Writes the synthetic pair of camera networks: `DIR/source` and `DIR/target` in Market-1501's layout, and
 * `DIR/synthetic.json`, which says what was made. The folder appears whole or not at all.
 */
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises"
import { availableParallelism } from "node:os"
import { dirname, join, resolve } from "node:path"
import { isDeepStrictEqual } from "node:util"
import { Effect, Option, Schema } from "effect"
import sharp from "sharp"
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
  const attempt = <A>(run: () => Promise<A>) =>
    Effect.tryPromise({ try: run, catch: (cause) => new SyntheticWriteFailed({ folder, cause }) })

  const held = yield* attempt(() => inspect(folder, record, images))
  if (held._tag === "Same" && options.force !== true)
    return { folder, images: images.length, written: false } satisfies SyntheticResult
  if (held._tag === "Other" && !(options.force === true && held.replaceable))
    return yield* new SyntheticFolderTaken({ folder, found: held.found, replaceable: held.replaceable })

  const partial = `${folder}.partial-${process.pid}`
  yield* Effect.acquireUseRelease(
    attempt(() => makeFolders(partial, images)),
    () =>
      drawAll(partial, record, images, options).pipe(
        Effect.mapError((cause) => new SyntheticWriteFailed({ folder, cause })),
        Effect.andThen(attempt(() => putInPlace(partial, folder)))
      ),
    () => Effect.promise(() => rm(partial, { recursive: true, force: true }))
  )
  return { folder, images: images.length, written: true } satisfies SyntheticResult
})

type Held =
  | { readonly _tag: "Nothing" }
  | { readonly _tag: "Same" }
  | { readonly _tag: "Other"; readonly found: string; readonly replaceable: boolean }

const hasCode = (cause: unknown, code: string) => cause instanceof Error && "code" in cause && cause.code === code

const inspect = async (folder: string, record: SyntheticRecord, images: ReadonlyArray<PlannedImage>): Promise<Held> => {
  let names: ReadonlyArray<string>
  try {
    names = await readdir(folder)
  } catch (cause) {
    if (hasCode(cause, "ENOENT")) return { _tag: "Nothing" }
    if (hasCode(cause, "ENOTDIR")) return { _tag: "Other", found: "a file", replaceable: false }
    throw cause
  }
  if (names.length === 0) return { _tag: "Nothing" }
  const strange = names.filter((name) => name !== RECORD && !DOMAINS.some((domain) => domain === name))
  if (!names.includes(RECORD))
    return { _tag: "Other", found: names.slice(0, 3).join(", ") + (names.length > 3 ? ", …" : ""), replaceable: false }
  const there = Schema.decodeUnknownOption(Schema.fromJsonString(SyntheticRecord))(
    await readFile(join(folder, RECORD), "utf8")
  )
  const other = (found: string): Held => ({ _tag: "Other", found, replaceable: strange.length === 0 })
  if (Option.isNone(there)) return other(`a ${RECORD} that cannot be read`)
  if (!isDeepStrictEqual(there.value, record)) {
    const sizes = isDeepStrictEqual(there.value.sizes, record.sizes) ? "" : " and other sizes"
    return other(`the synthetic pair of seed ${there.value.seed}${sizes} (generator ${there.value.generator})`)
  }
  return (await isWhole(folder, images)) ? { _tag: "Same" } : other("this pair, but not all of its images")
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
  for (const inner of foldersOf(images)) await mkdir(join(partial, inner), { recursive: true })
}

const drawAll = Effect.fnUntraced(function* (
  partial: string,
  record: SyntheticRecord,
  images: ReadonlyArray<PlannedImage>,
  options: SyntheticOptions
) {
  const sheets: Array<ReadonlyArray<PlannedImage>> = []
  for (let start = 0; start < images.length; start += SHEET) sheets.push(images.slice(start, start + SHEET))
  let done = 0
  const drawSheet = (sheet: ReadonlyArray<PlannedImage>) =>
    Effect.tryPromise({
      try: async () => {
        const jpegs = await renderImages(record.seed, record.sizes, sheet)
        await Promise.all(jpegs.map((jpeg, i) => writeFile(join(partial, sheet[i]!.path), jpeg)))
        done += sheet.length
        options.onProgress?.(done, images.length)
      },
      catch: (cause) => cause
    })
  // One thread an image: the images are small, and several are in the making at a time.
  const threads = sharp.concurrency()
  sharp.concurrency(1)
  yield* Effect.forEach(sheets, drawSheet, {
    concurrency: options.concurrency ?? availableParallelism() + 1,
    discard: true
  }).pipe(Effect.ensuring(Effect.sync(() => sharp.concurrency(threads))))
  yield* Effect.tryPromise({
    try: () => writeFile(join(partial, RECORD), `${JSON.stringify(record, null, 2)}\n`),
    catch: (cause) => cause
  })
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
