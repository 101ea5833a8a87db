/** `images`: decoded and resized pixels of one split of a data set, a row an image. */
import { Schema } from "effect"
import { artifact } from "./artifact.ts"
import { fixedBytes, int32, utf8 } from "./column.ts"

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
    height: Schema.FiniteFromString,
    width: Schema.FiniteFromString,
    dataset: Schema.String,
    split: Schema.String
  }
)
