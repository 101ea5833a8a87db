/** TensorFlow, loaded once for all cases of a process. */

import * as NodeServices from "@effect/platform-node/NodeServices"
import { Effect, Layer, Scope } from "effect"
import { Session } from "#engine/session.ts"

export const loadedSession = () =>
  Effect.runPromise(
    Effect.gen(function* () {
      return yield* Layer.buildWithScope(Layer.provide(Session.layer, NodeServices.layer), yield* Scope.make())
    })
  )
