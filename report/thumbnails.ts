/** Small pictures of decoded images as data URIs: one by one, or many on a sheet. */
import { open } from "node:fs/promises"
import { Effect } from "effect"
import sharp from "sharp"
import type { ImageRow, ImageRows } from "#data/image-rows.ts"
import { ArtifactUnreadable } from "#schemas/artifact.ts"
import { images as imagesArtifact } from "#schemas/images.ts"

/** Many pictures in one, row by row from the top left. */
export interface Sheets {
  readonly width: number
  readonly height: number
  readonly columns: number
  readonly perSheet: number
  /** Data URIs. */
  readonly sheets: ReadonlyArray<string>
}

const sheetColumns = 16
const perSheet = 256

type Format = "webp" | "jpeg"

/** The pixels of these images, in order. */
const readPixels = (rows: ReadonlyArray<ImageRow>, bytes: number) =>
  Effect.forEach([...Map.groupBy(rows, ({ place }) => place.file)], ([file, own]) =>
    Effect.tryPromise({
      try: async () => {
        const handle = await open(file, "r")
        try {
          const pixels: Array<readonly [string, Buffer]> = []
          for (const { image, place } of own) {
            const buffer = Buffer.alloc(bytes)
            await handle.read(buffer, 0, bytes, place.offset)
            pixels.push([image, buffer])
          }
          return pixels
        } finally {
          await handle.close()
        }
      },
      catch: (cause) =>
        new ArtifactUnreadable({ artifact: imagesArtifact.name, source: file, problem: (cause as Error).message })
    })
  ).pipe(Effect.map((parts) => new Map(parts.flat())))

const encoded = async (
  pixels: Buffer,
  size: { readonly width: number; readonly height: number },
  scaled: { readonly width: number; readonly height: number },
  format: Format
) => {
  const picture = sharp(pixels, { raw: { ...size, channels: 3 } }).resize(scaled.width, scaled.height, { fit: "fill" })
  const bytes = await (format === "webp" ? picture.webp({ quality: 72 }) : picture.jpeg({ quality: 80 })).toBuffer()
  return `data:image/${format};base64,${bytes.toString("base64")}`
}

/** The size at which an image is shown: never enlarged, at most `height` pixels high. */
const scaledSize = ({ width, height }: ImageRows, most: number) => {
  const factor = Math.min(1, most / height)
  return { width: Math.max(1, Math.round(width * factor)), height: Math.max(1, Math.round(height * factor)) }
}

/** Data URIs of these images by name, at most `height` pixels high; what is not among the rows is left out. */
export const thumbnails = Effect.fn("thumbnails")(function* (
  images: ImageRows,
  names: ReadonlySet<string>,
  height: number,
  format: Format = "webp"
) {
  const rows = images.rows.filter(({ image }) => names.has(image))
  const pixels = yield* readPixels(rows, images.height * images.width * 3)
  const scaled = scaledSize(images, height)
  const pictures = yield* Effect.forEach(
    [...pixels],
    ([name, own]) =>
      Effect.map(
        Effect.promise(() => encoded(own, { width: images.width, height: images.height }, scaled, format)),
        (uri) => [name, uri] as const
      ),
    { concurrency: 4 }
  )
  return new Map(pictures)
})

/** These images on sheets, in this order; one that is not among the rows leaves its place black. */
export const sheetsOf = Effect.fn("sheetsOf")(function* (
  images: ImageRows,
  names: ReadonlyArray<string>,
  most: number
) {
  const byName = new Map(images.rows.map((row) => [row.image, row]))
  const { width, height } = scaledSize(images, most)
  const stride = images.width * 3
  const sheets: Array<string> = []
  for (let start = 0; start < names.length; start += perSheet) {
    const own = names.slice(start, start + perSheet)
    const pixels = yield* readPixels(
      own.flatMap((name) => byName.get(name) ?? []),
      images.height * stride
    )
    const lines = Math.ceil(own.length / sheetColumns)
    const sheet = Buffer.alloc(lines * images.height * sheetColumns * stride)
    for (const [i, name] of own.entries()) {
      const picture = pixels.get(name)
      const corner = Math.floor(i / sheetColumns) * images.height * sheetColumns * stride + (i % sheetColumns) * stride
      for (let y = 0; picture && y < images.height; y++)
        picture.copy(sheet, corner + y * sheetColumns * stride, y * stride, (y + 1) * stride)
    }
    const whole = { width: sheetColumns * images.width, height: lines * images.height }
    const scaled = { width: sheetColumns * width, height: lines * height }
    sheets.push(yield* Effect.promise(() => encoded(sheet, whole, scaled, "webp")))
  }
  return { width, height, columns: sheetColumns, perSheet, sheets } satisfies Sheets
})
