/**
 * `teacher-updates`: of each update of the mean teachers its α, and one weighted sum of each parameter of the students
 * as they were then. From them and the teachers before an epoch follow the sums of the teachers after it.
 */
import { Schema } from "effect"
import { artifact } from "./artifact.ts"
import { float64, int32, vector } from "./column.ts"

export const teacherUpdates = artifact(
  "teacher-updates",
  {
    /** Counted from 0 over the whole adaptation, as the warm-up of α counts. */
    update: int32,
    alpha: float64,
    /** In the order of `parameters`. */
    studentSums: vector
  },
  {
    /** `network/name` of each summed parameter, as JSON. */
    parameters: Schema.fromJsonString(Schema.Array(Schema.String))
  }
)
