/**
 * Adam as PyTorch's `torch.optim.Adam`: weight decay is added to the gradient before the moments (coupled L2), ε to
 * the root of the corrected second moment.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import type { SessionShape } from "#engine/session.ts"

export interface AdamSettings {
  readonly weightDecay: number
  readonly beta1: number
  readonly beta2: number
  readonly epsilon: number
}

export const adamDefaults: AdamSettings = { weightDecay: 5e-4, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }

export interface Adam {
  /** One step on the variables of these gradients, by name. */
  readonly apply: (gradients: Readonly<Record<string, tfjs.Tensor>>, learningRate: number) => void
  /** Steps taken. */
  readonly step: () => number
  /** First and second moments by the variable's name, in the layout of the variable. */
  readonly moments: (name: string) => readonly [m: tfjs.Variable, v: tfjs.Variable]
}

/**
 * An optimizer over variables by name, its moments at zero, or at given ones with the steps already taken. The moments
 * are variables of the session, under `adam/`.
 */
export const makeAdam = (
  session: SessionShape,
  variables: ReadonlyMap<string, tfjs.Variable>,
  settings: AdamSettings,
  start: {
    readonly step: number
    readonly moments: (name: string) => readonly [tfjs.Tensor, tfjs.Tensor] | undefined
  } = {
    step: 0,
    moments: () => undefined
  }
): Adam => {
  const { tf } = session
  const { weightDecay, beta1, beta2, epsilon } = settings
  session.free("adam/")
  const moments = new Map(
    [...variables].map(([name, variable]) => {
      const m = session.variable(`adam/m/${name}`, () => start.moments(name)?.[0] ?? tf.zerosLike(variable))
      const v = session.variable(`adam/v/${name}`, () => start.moments(name)?.[1] ?? tf.zerosLike(variable))
      return [name, [m, v] as const]
    })
  )
  let step = start.step
  return {
    step: () => step,
    moments: (name) => moments.get(name)!,
    apply: (gradients, learningRate) => {
      step++
      const stepSize = learningRate / (1 - beta1 ** step)
      const correction = Math.sqrt(1 - beta2 ** step)
      tf.tidy(() => {
        for (const [name, gradient] of Object.entries(gradients)) {
          const variable = variables.get(name)!
          const [m, v] = moments.get(name)!
          const decayed = weightDecay === 0 ? gradient : tf.add(gradient, tf.mul(variable, weightDecay))
          m.assign(tf.add(tf.mul(m, beta1), tf.mul(decayed, 1 - beta1)))
          v.assign(tf.add(tf.mul(v, beta2), tf.mul(tf.square(decayed), 1 - beta2)))
          const denominator = tf.add(tf.div(tf.sqrt(v), correction), epsilon)
          variable.assign(tf.sub(variable, tf.mul(tf.div(m, denominator), stepSize)))
        }
      })
    }
  }
}
