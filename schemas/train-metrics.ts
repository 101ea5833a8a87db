/** `train-metrics`: what each iteration of training reports, with a float32 column for each loss term beside these. */
import { makeData, RecordBatch } from "apache-arrow"
import { artifact, batchOf, viewOf, withExtraColumns } from "./artifact.ts"
import { float32, float32OrNull, int32 } from "./column.ts"

export const trainMetrics = artifact(
  "train-metrics",
  {
    epoch: int32,
    /** Counted from 0 within the epoch. */
    iteration: int32,
    learningRate: float32,
    /**
     * Wall time of the step, the mean teachers' update included where there is one. A run writes nulls here and the times to events.jsonl, since its artifacts have the
     * same bytes each time; `mmt stage run train-step` writes the times.
     */
    millis: float32OrNull
  },
  {}
)

/** The rows with so many milliseconds added to the time of each. */
export const withTimeAdded = (batch: RecordBatch, millis: number): RecordBatch => {
  const later = viewOf(trainMetrics, batch).millis.map((before) => before + millis)
  const column = batch.schema.names.indexOf("millis")
  const children = batch.data.children.with(column, trainMetrics.columns.millis.write(later, batch.numRows))
  const { type, length } = batch.data
  return new RecordBatch(batch.schema, makeData({ type, length, nullCount: 0, children }), batch.metadata)
}

/** Metrics without their wall times, and the times. */
export interface Timeless {
  readonly batch: RecordBatch
  readonly millis: ReadonlyArray<number>
}

/** The rows of these batches (one or more, all with the same loss terms) as one batch. */
export const joinedRows = (batches: ReadonlyArray<RecordBatch>): RecordBatch => {
  const views = batches.map((batch) => viewOf(trainMetrics, batch))
  const terms = batches[0]!.schema.names.map(String).filter((name) => !(name in trainMetrics.columns))
  const joined = (name: string) =>
    Float32Array.from(batches.flatMap((batch) => Array.from(float32.read(batch.getChild(name)!.data[0]!))))
  return batchOf(
    trainMetrics,
    {
      epoch: Int32Array.from(views.flatMap(({ epoch }) => [...epoch])),
      iteration: Int32Array.from(views.flatMap(({ iteration }) => [...iteration])),
      learningRate: joined("learningRate"),
      millis: joined("millis")
    },
    {},
    {
      columns: Object.fromEntries(terms.map((name) => [name, float32])),
      view: Object.fromEntries(terms.map((name) => [name, joined(name)]))
    }
  )
}

/** The rows of these batches as one batch with nulls for the times. */
export const withoutTimes = (batches: ReadonlyArray<RecordBatch>): Timeless => {
  const all = joinedRows(batches)
  const view = viewOf(trainMetrics, all)
  const timeless = batchOf(trainMetrics, { ...view, millis: view.millis.map(() => Number.NaN) }, {})
  return { batch: withExtraColumns(timeless, all, trainMetrics, trainMetrics), millis: [...view.millis] }
}
