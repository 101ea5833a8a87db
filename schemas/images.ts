/** `images`: decoded and resized pixels of one split of a data set, a row an image. */
import type { RecordBatch } from "apache-arrow"
import { Schema } from "effect"
import { artifact, ColumnError } from "./artifact.ts"
import { fixedBytes, int32, utf8, width as widthOf } from "./column.ts"

/** A number of pixels in metadata, which Arrow keeps as text. */
export const PixelCount = Schema.FiniteFromString.check(Schema.isInt(), Schema.isGreaterThan(0))

export const images = artifact(
  "images",
  {
    /** Path of the image below the data set's root. */
    image: utf8,
    /** Identity; −1 unknown or junk, 0 a distractor. */
    person: int32,
    camera: int32,
    /** height · width · 3 bytes: RGB, row-major. */
    pixels: fixedBytes
  },
  {
    height: PixelCount,
    width: PixelCount,
    dataset: Schema.String,
    split: Schema.String
  }
)

/** A batch whose rows hold another number of bytes than its height and width ask for, as an error. */
export const pixelsError = (
  batch: RecordBatch,
  { height, width }: { readonly height: number; readonly width: number },
  source: string
): ColumnError | undefined => {
  const { type } = batch.getChild("pixels")!
  const bytes = height * width * 3
  if (batch.numRows === 0 || widthOf(type) === bytes) return undefined
  const expected = `fixed_size_binary[${bytes}] (height ${height} · width ${width} · 3, as its metadata says)`
  return new ColumnError({ artifact: images.name, source, column: "pixels", expected, found: String(type) })
}
