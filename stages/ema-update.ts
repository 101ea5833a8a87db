/** ema-update: with each training step, moves every mean teacher towards its student. */
import { Deferred, Duration, Effect, Schema, Stream } from "effect"
import { moveTeacher, teacherOf, warmedUpAlpha } from "#model/mean-teacher.ts"
import { Networks } from "#model/networks.ts"
import { optionalPort, port, stage } from "#pipeline/stage.ts"
import { checkpoint } from "#schemas/checkpoint.ts"
import { trainMetrics, withTimeAdded } from "#schemas/train-metrics.ts"

export const EmaUpdateParams = Schema.Struct({
  students: Schema.Array(Schema.String).pipe(Schema.withDecodingDefaultKey(Effect.succeed(["student-1", "student-2"]))),
  /** α of the exponential moving average. */
  momentum: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })).pipe(
    Schema.withDecodingDefaultKey(Effect.succeed(0.999))
  ),
  /** Whether α grows towards the momentum by 1 − 1/(step + 1), or is the momentum from the start (OpenUnReID). */
  warmup: Schema.Boolean.pipe(Schema.withDecodingDefaultKey(Effect.succeed(true))),
  /**
   * `after-step` moves the teachers towards what the step has made of the students; `before-forward`, where train-step is in the
   * same session, before the step's forward passes, so towards what the students were until then (OpenUnReID).
   */
  when: Schema.Literals(["after-step", "before-forward"]).pipe(
    Schema.withDecodingDefaultKey(Effect.succeed("after-step" as const))
  )
}).check(
  Schema.makeFilter(({ students }) => {
    const unnamed = students.find((name) => teacherOf(name) === name)
    return unnamed === undefined || `students: "${unnamed}" has no mean teacher; expected a name as "student-1"`
  })
)

export const emaUpdateStage = stage({
  name: "ema-update",
  version: 1,
  summary: "moves each mean teacher towards its student, once for each row of train-metrics",
  params: EmaUpdateParams,
  inputs: {
    "train-metrics": port(trainMetrics, "a row for each step that was taken"),
    checkpoint: optionalPort(checkpoint, "students and teachers; without it, those of the session")
  },
  outputs: {
    "train-metrics": port(trainMetrics, "the same rows, once their update is done and its time added to the step's"),
    checkpoint: port(checkpoint, "the networks after the last update")
  },
  run: (inputs, { students, momentum, warmup, when }) =>
    Effect.gen(function* () {
      const networks = yield* Networks
      if (inputs.checkpoint) {
        yield* networks.load(yield* Stream.runCollect(inputs.checkpoint.batches), inputs.checkpoint.source)
      }
      const nextAlpha = () => {
        const step = networks.teacherStep++
        return warmup ? warmedUpAlpha(step, momentum) : momentum
      }
      const update = Effect.gen(function* () {
        const alpha = nextAlpha()
        if (networks.trainer) return networks.trainer.moveTeachers(alpha)
        for (const name of students) {
          const student = yield* networks.get(name)
          const teacher = yield* networks.get(teacherOf(name))
          moveTeacher(networks.session.tf, teacher.parameters, student.parameters, alpha)
        }
      })
      /** Updates that came before their step, whose rows are still to come. */
      let early = 0
      if (when === "before-forward")
        networks.beforeStep = (trainer) => {
          trainer.moveTeachers(nextAlpha())
          early++
        }
      const updateOf = Effect.suspend(() => (early > 0 ? Effect.sync(() => void early--) : update))
      const finished = yield* Deferred.make<void>()
      return {
        "train-metrics": inputs["train-metrics"].batches.pipe(
          Stream.rechunk(1),
          Stream.mapEffect((rows) =>
            Effect.map(Effect.timed(Effect.replicateEffect(updateOf, rows.numRows, { discard: true })), ([took]) =>
              withTimeAdded(rows, Duration.toMillis(took) / rows.numRows)
            )
          ),
          Stream.onEnd(Deferred.succeed(finished, undefined))
        ),
        checkpoint: Stream.fromEffect(
          Effect.andThen(Deferred.await(finished), () => Effect.sync(() => networks.save({ optimizer: false })))
        )
      }
    })
})
