/** An engine session: TensorFlow and the variables declared in it, which are freed when its scope closes; reading values. */
import { availableParallelism } from "node:os"
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { Context, Effect, Layer } from "effect"
import {
  type EngineBroken,
  type EngineMissing,
  type LoadOptions,
  loadTensorFlow,
  type TensorFlow
} from "#engine/tensorflow.ts"

export interface SessionShape {
  readonly tf: TensorFlow
  /** Declares a variable, or one of another value and shape in the place of the variable of that name. */
  readonly variable: (name: string, value: () => tfjs.Tensor) => tfjs.Variable
  /** Frees the variables whose names start so. */
  readonly free: (prefix: string) => void
}

/**
 * The values of the tensor that `make` gives; all tensors made on the way are freed. (`tf.tidy` must not give the values
 * itself: it looks for tensors in what it is given, number by number.)
 */
export const valuesOf = (tf: TensorFlow, make: () => tfjs.Tensor): Float32Array | Int32Array => {
  const tensor = tf.tidy(make)
  try {
    return tensor.dataSync() as Float32Array | Int32Array
  } finally {
    tensor.dispose()
  }
}

/**
 * The threads that TensorFlow is loaded with on a machine of so many cores: two networks run side by side and share the cores.
 * On 2 cores, the time of a step by threads an op × ops at a time, relative to 1 × 2 (a convolution that runs alone has the
 * threads of all ops: `addon/convolution.cc`):
 *
 * | step | 1 × 2 | 2 × 2 | 2 × 1 |
 * | --- | --- | --- | --- |
 * | MMT, resnet-small, 64 images | 1 | 1.1 | 1.7 |
 * | MMT, resnet-50, 16 images | 1 | 1 | 1.05 |
 * | pre-training, resnet-small | 1 | 1.06 | 1.2 |
 * | pre-training, resnet-50 | 1 | 0.97 | 0.94 |
 */
export const threadsFor = (cores: number): Required<LoadOptions> => ({
  intraOpThreads: Math.max(1, Math.floor(cores / 2)),
  interOpThreads: Math.min(2, cores)
})

/** The threads that TensorFlow is loaded with. */
export const EngineThreads = Context.Reference<Required<LoadOptions>>("mmt/engine/EngineThreads", {
  defaultValue: () => threadsFor(availableParallelism())
})

export class Session extends Context.Service<Session, SessionShape>()("mmt/engine/Session") {
  static readonly layer: Layer.Layer<Session, EngineMissing | EngineBroken> = Layer.effect(
    Session,
    Effect.gen(function* () {
      const tf = yield* loadTensorFlow(yield* EngineThreads)
      const variables = new Map<string, tfjs.Variable>()
      const free = (prefix: string) => {
        for (const [name, variable] of variables)
          if (name.startsWith(prefix)) {
            variable.dispose()
            variables.delete(name)
          }
      }
      yield* Effect.addFinalizer(() => Effect.sync(() => free("")))
      return Session.of({
        tf,
        variable: (name, value) => {
          variables.get(name)?.dispose()
          const variable = tf.tidy(() => tf.variable(value(), true))
          variables.set(name, variable)
          return variable
        },
        free
      })
    })
  )
}
