/** Compiled programs that are kept from one use to the next, by what they were made of. */
import { Context, Effect, Exit, Layer, Scope } from "effect"
import type { NotCompilable, Program } from "#engine/compile.ts"

export interface ProgramsShape {
  /**
   * The program of this key, made where it is not held. The key says all that the program depends on. Of those of one
   * family one is held at a time: the next one frees it, as of the training that goes on with other classes.
   */
  readonly of: <Steps extends string>(
    key: string,
    make: Effect.Effect<Program<Steps>, NotCompilable, Scope.Scope>,
    family?: string
  ) => Effect.Effect<Program<Steps>, NotCompilable>
}

interface Held {
  readonly program: Program<never>
  readonly scope: Scope.Closeable
  readonly family: string
}

/** How many are held; each holds the memory of its variables. The one used longest ago goes first. */
const most = 4

/** Holds programs until its scope closes. */
export class Programs extends Context.Service<Programs, ProgramsShape>()("mmt/engine/Programs") {
  static readonly layer: Layer.Layer<Programs> = Layer.effect(
    Programs,
    Effect.gen(function* () {
      const held = new Map<string, Held>()
      const free = (key: string) =>
        Effect.suspend(() => {
          const { scope } = held.get(key)!
          held.delete(key)
          return Scope.close(scope, Exit.void)
        })
      yield* Effect.addFinalizer(() => Effect.forEach([...held.keys()], free, { discard: true }))
      const of: ProgramsShape["of"] = <Steps extends string>(
        key: string,
        make: Effect.Effect<Program<Steps>, NotCompilable, Scope.Scope>,
        family = key
      ) =>
        Effect.gen(function* () {
          const found = held.get(key)
          held.delete(key)
          if (found !== undefined) {
            held.set(key, found)
            return found.program as Program<Steps>
          }
          const [relative] = [...held].flatMap(([other, one]) => (one.family === family ? [other] : []))
          const [oldest] = held.keys()
          if (relative !== undefined) yield* free(relative)
          else if (held.size >= most) yield* free(oldest!)
          const scope = yield* Scope.make()
          const program = yield* Scope.provide(make, scope)
          held.set(key, { program, scope, family })
          return program
        })
      return Programs.of({ of })
    })
  )
}
