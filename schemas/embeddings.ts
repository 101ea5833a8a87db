/** `embeddings`: one L2-normalised vector an image. */
import { Schema } from "effect"
import { artifact } from "./artifact.ts"
import { int32, utf8, vector } from "./column.ts"

export const embeddings = artifact(
  "embeddings",
  { image: utf8, person: int32, camera: int32, embedding: vector },
  {
    /** The networks whose embeddings were averaged, separated by commas. */
    networks: Schema.optionalKey(Schema.String)
  }
)
