/** `train-metrics`: what each iteration of training reports, with a float32 column for each loss term beside these. */
import { artifact } from "./artifact.ts"
import { float32, float32OrNull, int32 } from "./column.ts"

export const trainMetrics = artifact(
  "train-metrics",
  {
    epoch: int32,
    /** Counted from 0 within the epoch. */
    iteration: int32,
    learningRate: float32,
    /**
     * Wall time of the step. A run writes nulls here and the times to events.jsonl, since its artifacts have the
     * same bytes each time; `mmt stage run train-step` writes the times.
     */
    millis: float32OrNull
  },
  {}
)
