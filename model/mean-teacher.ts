/** The mean teacher: an exponential moving average of a student's parameters. Source: Tarvainen & Valpola, 2017. */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import type { TensorFlow } from "#engine/tensorflow.ts"
import { blend } from "#engine/updates.ts"

type Parameters = ReadonlyMap<string, tfjs.Variable>

/** What the mean teacher of a student is called: `teacher-1` of `student-1`. */
export const teacherOf = (student: string): string => student.replace("student", "teacher")

/**
 * α of an update that warms up: min(1 − 1/(step + 1), momentum), with `step` counted from 0 over the whole adaptation. Source: the
 * original code; OpenUnReID's is `momentum` from the first update on.
 */
export const warmedUpAlpha = (step: number, momentum: number): number => Math.min(1 - 1 / (step + 1), momentum)

/** α of an update, with or without the warm-up. */
export const alphaOf = (
  { momentum, warmup }: { readonly momentum: number; readonly warmup: boolean },
  step: number
): number => (warmup ? warmedUpAlpha(step, momentum) : momentum)

/**
 * E[θ] ← α·E[θ] + (1 − α)·θ, for the parameters alone: BatchNorm's running statistics of a teacher come from its own
 * forward passes (equation 2 of the paper, and the original code).
 */
export const moveTeacher = (
  tf: TensorFlow,
  teacher: Parameters,
  student: Parameters,
  alpha: tfjs.Scalar | number,
  oneMinusAlpha: tfjs.Scalar | number = 1 - (alpha as number)
): void => {
  tf.tidy(() => {
    const weights = [alpha, oneMinusAlpha].map((weight) => (typeof weight === "number" ? tf.scalar(weight) : weight))
    const [kept, taken] = weights as [tfjs.Scalar, tfjs.Scalar]
    for (const [name, variable] of teacher) variable.assign(blend(tf, kept, variable, taken, student.get(name)!))
  })
}
