/** `batches`: augmented training images, a record batch an iteration; view 0's rows first, then view 1's. */
import { Schema } from "effect"
import { artifact } from "./artifact.ts"
import { int8, int32, utf8, vector } from "./column.ts"
import { PixelCount } from "./images.ts"

export const batches = artifact(
  "batches",
  {
    image: utf8,
    /** Pseudo label (or the identity's class while pre-training), 0 … classes − 1. */
    label: int32,
    camera: int32,
    /** 0 for the first pair of student and teacher, 1 for the second. */
    view: int8,
    /** height · width · 3 values, normalised, NHWC. */
    pixels: vector
  },
  {
    height: PixelCount,
    width: PixelCount,
    /** Number of classes that the labels come from. */
    classes: Schema.optionalKey(Schema.FiniteFromString),
    epoch: Schema.optionalKey(Schema.FiniteFromString),
    /** Counted from 0 within the epoch; each record batch carries its own. */
    iteration: Schema.FiniteFromString
  }
)
