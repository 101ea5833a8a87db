/** The loss terms of a phase's training as curves. */
import { Effect, Stream } from "effect"
import { inletOf } from "#pipeline/arrow-file.ts"
import { adaptations } from "#pipeline/plan.ts"
import { epochName, folderOf, students } from "#pipeline/task-plan.ts"
import { filesOf, type RunData } from "#report/run-data.ts"
import { viewOf } from "#schemas/artifact.ts"
import { float32 } from "#schemas/column.ts"
import { trainMetrics } from "#schemas/train-metrics.ts"

/** Loss terms over the course of one training, each point the mean of a stretch of iterations. */
export interface LossCurves {
  /** pretrain, or the name of an adaptation. */
  readonly phase: string
  /** Epochs since the start: 2.5 is half-way through the third. */
  readonly epoch: ReadonlyArray<number>
  /** By term, the mean of the networks that report it: ce, tri, softCe, softTri, total. */
  readonly terms: ReadonlyMap<string, ReadonlyArray<number>>
  readonly learningRate: ReadonlyArray<number>
}

/** Points of a curve that a chart can show. */
const mostPoints = 240

/** `ce1` and `ce2` are the term `ce` of two networks. */
export const termOf = (column: string) => column.replace(/\d+$/, "")

interface EpochMetrics {
  readonly epoch: number
  readonly learningRate: ReadonlyArray<number>
  readonly terms: ReadonlyMap<string, ReadonlyArray<number>>
}

const mean = (values: ReadonlyArray<number>) => values.reduce((a, b) => a + b, 0) / values.length

const meanOfColumns = (columns: ReadonlyArray<ReadonlyArray<number>>) =>
  columns[0]!.map((_, row) => mean(columns.map((column) => column[row]!)))

/** One epoch's iterations, its terms averaged over the networks; several files are those of single networks. */
const readEpoch = Effect.fnUntraced(function* (epoch: number, files: ReadonlyArray<string>) {
  const columns = new Map<string, Array<ReadonlyArray<number>>>()
  let learningRate: ReadonlyArray<number> = []
  for (const file of files) {
    const own = new Map<string, Array<number>>()
    const rates: Array<number> = []
    for (const batch of yield* Stream.runCollect(inletOf(trainMetrics, [file]).batches)) {
      rates.push(...viewOf(trainMetrics, batch).learningRate)
      for (const { name, type } of batch.schema.fields) {
        if (Object.hasOwn(trainMetrics.columns, name) || !float32.accepts(type)) continue
        const values = own.get(name) ?? []
        own.set(name, values)
        values.push(...float32.read(batch.getChild(name)!.data[0]!))
      }
    }
    learningRate = rates
    for (const [name, values] of own) columns.set(termOf(name), [...(columns.get(termOf(name)) ?? []), values])
  }
  const terms = new Map([...columns].map(([name, values]) => [name, meanOfColumns(values)]))
  return { epoch, learningRate, terms } satisfies EpochMetrics
})

/** Means of `parts` stretches of about the same length. */
const stretches = (values: ReadonlyArray<number>, parts: number) =>
  Array.from({ length: parts }, (_, i) =>
    mean(values.slice(Math.floor((i * values.length) / parts), Math.floor(((i + 1) * values.length) / parts)))
  )

const curvesOf = (phase: string, epochs: ReadonlyArray<EpochMetrics>): LossCurves => {
  const perEpoch = Math.max(1, Math.floor(mostPoints / epochs.length))
  const parts = ({ learningRate }: EpochMetrics) => Math.min(perEpoch, learningRate.length)
  const names = [...new Set(epochs.flatMap(({ terms }) => [...terms.keys()]))]
  return {
    phase,
    epoch: epochs.flatMap((one) => Array.from({ length: parts(one) }, (_, i) => one.epoch - 1 + (i + 1) / parts(one))),
    terms: new Map(
      names.map((name) => [
        name,
        epochs.flatMap((one) => stretches(one.terms.get(name) ?? one.learningRate.map(() => Number.NaN), parts(one)))
      ])
    ),
    learningRate: epochs.flatMap((one) => stretches(one.learningRate, parts(one)))
  }
}

/** The curves of the pre-training and of each adaptation, of those that have trained. */
export const lossCurves = Effect.fn("lossCurves")(function* (run: RunData) {
  const { config } = run
  const phases = [
    {
      name: "pretrain",
      epochs: config.pretrain.epochs,
      tasks: (epoch: number) => students.map((student) => `pretrain/${student}/${epochName(epoch)}`)
    },
    ...adaptations(config).map(([name, { epochs }]) => ({
      name,
      epochs,
      tasks: (epoch: number) => [folderOf(name, "train", epoch)]
    }))
  ]
  const curves: Array<LossCurves> = []
  for (const { name, epochs, tasks } of phases) {
    const trained: Array<EpochMetrics> = []
    for (let epoch = 1; epoch <= epochs; epoch++) {
      const files = tasks(epoch).flatMap((task) => filesOf(run, task, "train-metrics"))
      if (files.length > 0) trained.push(yield* readEpoch(epoch, files))
    }
    if (trained.length > 0) curves.push(curvesOf(name, trained))
  }
  return curves
})
