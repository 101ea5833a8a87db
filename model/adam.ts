/**
 * Adam as PyTorch's `torch.optim.Adam`: weight decay is added to the gradient before the moments (coupled L2), ε to
 * the root of the corrected second moment.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import type { SessionShape } from "#engine/session.ts"
import { type AdamCoefficients, adamStep } from "#engine/updates.ts"

export type AdamSettings = AdamCoefficients

export const adamDefaults: AdamSettings = { weightDecay: 5e-4, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }

/** What changes from step to step: the step size lr / (1 − β1^t), and √(1 − β2^t). */
export interface AdamRates {
  readonly stepSize: number
  readonly correction: number
}

export interface Adam {
  /** Counts a step and gives its rates. */
  readonly next: (learningRate: number) => AdamRates
  /** Moves the variables of these gradients, by name; both rates are scalars. */
  readonly apply: (
    gradients: Readonly<Record<string, tfjs.Tensor>>,
    stepSize: tfjs.Scalar | number,
    correction: tfjs.Scalar | number
  ) => void
  /** Steps taken. */
  readonly step: () => number
  /** First and second moments by the variable's name, in the layout of the variable. */
  readonly moments: (name: string) => readonly [m: tfjs.Variable, v: tfjs.Variable]
}

/** Where an optimizer goes on: the steps taken, and the moments of a variable. */
export interface AdamStart {
  readonly step: number
  readonly moments: (name: string) => readonly [m: tfjs.Tensor, v: tfjs.Tensor] | undefined
}

const fresh: AdamStart = { step: 0, moments: () => undefined }

/** An optimizer over variables by name. Its moments are variables of the session, under `adam/`. */
export const makeAdam = (
  session: SessionShape,
  variables: ReadonlyMap<string, tfjs.Variable>,
  settings: AdamSettings,
  start: AdamStart = fresh
): Adam => {
  const { tf } = session
  session.free("adam/")
  const moments = new Map(
    [...variables].map(([name, variable]) => {
      const m = session.variable(`adam/m/${name}`, () => start.moments(name)?.[0] ?? tf.zerosLike(variable))
      const v = session.variable(`adam/v/${name}`, () => start.moments(name)?.[1] ?? tf.zerosLike(variable))
      return [name, [m, v] as const]
    })
  )
  const { beta1, beta2 } = settings
  let step = start.step
  return {
    step: () => step,
    moments: (name) => moments.get(name)!,
    next: (learningRate) => {
      step++
      return { stepSize: learningRate / (1 - beta1 ** step), correction: Math.sqrt(1 - beta2 ** step) }
    },
    apply: (gradients, stepSize, correction) => {
      tf.tidy(() => {
        const rates = [stepSize, correction].map((rate) => (typeof rate === "number" ? tf.scalar(rate) : rate))
        const [size, root] = rates as [tfjs.Scalar, tfjs.Scalar]
        for (const [name, gradient] of Object.entries(gradients)) {
          const state = [variables.get(name)!, ...moments.get(name)!] as const
          const moved = adamStep(tf, state, gradient, size, root, settings)
          for (const [i, variable] of state.entries()) variable.assign(moved[i]!)
        }
      })
    }
  }
}
