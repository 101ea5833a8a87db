/** The check of what training reported: its iterations, its losses, its learning rate. */
import { Effect, Stream } from "effect"
import { type Check, type Findings, overTasks } from "#audit/check.ts"
import { outputFile, placeOf, type RecordedFile, recordedParams } from "#audit/open-run.ts"
import { learningRate } from "#model/learning-rate.ts"
import { lossNames, termWeights } from "#model/objective.ts"
import { readBatches } from "#pipeline/arrow-file.ts"
import { viewOf } from "#schemas/artifact.ts"
import { float32 } from "#schemas/column.ts"
import { trainMetrics } from "#schemas/train-metrics.ts"
import { TrainStepParams } from "#stages/train-step.ts"

/** Of the sum of some ten terms in float32. */
const sumTolerance = 1e-6

interface Row {
  readonly epoch: number
  readonly iteration: number
  readonly rate: number
  readonly losses: ReadonlyMap<string, number>
}

const checkRow = (
  params: typeof TrainStepParams.Type,
  at: number,
  row: Row,
  file: RecordedFile,
  findings: Findings
) => {
  const wrong = (column: string, problem: string) => findings.add({ file: file.path, row: at, column, problem })
  if (row.epoch !== params.epoch) wrong("epoch", `${row.epoch}, expected ${params.epoch}`)
  if (row.iteration !== at) wrong("iteration", `${row.iteration}, expected ${at}`)
  const rate = learningRate(params.schedule, params.epoch, at, params.iterations)
  if (row.rate !== Math.fround(rate)) wrong("learningRate", `${row.rate}, the schedule gives ${rate}`)
  for (const [name, value] of row.losses) if (!Number.isFinite(value)) wrong(name, `${value}, expected a finite number`)
  const weights = new Map(termWeights(params.loss))
  let [sum, size] = [0, 0]
  for (const [name, value] of row.losses) {
    const weight = weights.get(name.replace(/\d+$/, "") as never)
    if (weight === undefined) continue
    sum += weight * value
    size += Math.abs(weight * value)
  }
  const total = row.losses.get("total")!
  if (Math.abs(sum - total) > sumTolerance * size)
    wrong("total", `${total}, the weighted terms add up to ${sum.toPrecision(9)}`)
}

export const losses: Check = {
  name: "losses",
  about: "every iteration is there, its losses are finite and add up to the total, its learning rate is the schedule's",
  unit: "iterations",
  run: (run, findings, tell) =>
    overTasks(run, "train-step", findings, tell, (task, _, step) =>
      Effect.gen(function* () {
        const file = outputFile(run, task, "train-metrics")
        if (file === undefined) return
        const params = yield* recordedParams(TrainStepParams, step)
        const names = lossNames(params.loss, params.students.length)
        let at = 0
        yield* Stream.runForEach(readBatches(trainMetrics, placeOf(run, file)), (batch) =>
          Effect.sync(() => {
            const { epoch, iteration, learningRate: rate } = viewOf(trainMetrics, batch)
            const missing = names.find((name) => batch.getChild(name) === null)
            if (missing !== undefined)
              return findings.add({ file: file.path, column: missing, problem: "there is no such loss" })
            const terms = names.map((name) => [name, float32.read(batch.getChild(name)!.data[0]!)] as const)
            for (let row = 0; row < batch.numRows; row++) {
              const losses = new Map(terms.map(([name, values]) => [name, values[row]!]))
              checkRow(
                params,
                at++,
                { epoch: epoch[row]!, iteration: iteration[row]!, rate: rate[row]!, losses },
                file,
                findings
              )
            }
          })
        )
        findings.checked += at
      })
    )
}
