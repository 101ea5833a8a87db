/** The learning rate over a training: linear warm-up, then steps. */
import { Schema } from "effect"

const NotNegative = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))

export const LearningRateSchedule = Schema.Struct({
  base: Schema.Finite.check(Schema.isGreaterThan(0)),
  /** Epochs in which the rate grows in proportion to the iterations done. */
  warmupEpochs: NotNegative,
  /** Epochs after which the rate is multiplied by `factor`. */
  milestones: Schema.Array(NotNegative),
  factor: Schema.Finite.check(Schema.isGreaterThan(0))
})
export type LearningRateSchedule = typeof LearningRateSchedule.Type

/** Rate of an iteration (from 0) of an epoch (from 1). */
export const learningRate = (
  { base, warmupEpochs, milestones, factor }: LearningRateSchedule,
  epoch: number,
  iteration: number,
  iterationsPerEpoch: number
): number => {
  const done = (epoch - 1) * iterationsPerEpoch + iteration
  const warmup = Math.min(1, (done + 1) / Math.max(1, warmupEpochs * iterationsPerEpoch))
  const passed = milestones.filter((milestone) => done >= milestone * iterationsPerEpoch).length
  return base * warmup * factor ** passed
}
