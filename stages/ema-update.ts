/** ema-update: with each training step, moves every mean teacher towards its student. */
import { Deferred, Duration, Effect, Schema, Stream } from "effect"
import { valuesOf } from "#engine/session.ts"
import { alphaOf, moveTeacher, teacherOf } from "#model/mean-teacher.ts"
import type { Network } from "#model/network.ts"
import { Networks, type TeacherUpdate } from "#model/networks.ts"
import { parameterSums } from "#model/parameter-sums.ts"
import type { Trainer } from "#model/trainer.ts"
import { optionalPort, port, stage } from "#pipeline/stage.ts"
import { batchOf } from "#schemas/artifact.ts"
import { checkpoint } from "#schemas/checkpoint.ts"
import { teacherUpdates } from "#schemas/teacher-updates.ts"
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

/** The updates of the mean teachers since the epoch began, as an artifact. */
export const updatesBatch = (updates: ReadonlyArray<TeacherUpdate>, students: ReadonlyArray<Network>) => {
  const parameters = students.flatMap(({ name, parameters }) => [...parameters.keys()].map((key) => `${name}/${key}`))
  const studentSums = new Float32Array(updates.length * parameters.length)
  for (const [row, { sums }] of updates.entries()) studentSums.set(sums, row * parameters.length)
  return batchOf(
    teacherUpdates,
    {
      update: Int32Array.from(updates, ({ update }) => update),
      alpha: Float64Array.from(updates, ({ alpha }) => alpha),
      studentSums
    },
    { parameters }
  )
}

export const emaUpdateStage = stage({
  name: "ema-update",
  version: 2,
  summary: "moves each mean teacher towards its student, once for each row of train-metrics",
  params: EmaUpdateParams,
  inputs: {
    "train-metrics": port(trainMetrics, "a row for each step that was taken"),
    checkpoint: optionalPort(checkpoint, "students and teachers; without it, those of the session")
  },
  outputs: {
    "train-metrics": port(trainMetrics, "the same rows, once their update is done and its time added to the step's"),
    checkpoint: port(checkpoint, "the networks after the last update"),
    "teacher-updates": port(teacherUpdates, "a row for each update, by which it can be checked")
  },
  run: (inputs, { students, momentum, warmup, when }) =>
    Effect.gen(function* () {
      const networks = yield* Networks
      if (inputs.checkpoint) {
        yield* networks.load(yield* Stream.runCollect(inputs.checkpoint.batches), inputs.checkpoint.source)
      }
      const nextAlpha = () => alphaOf({ momentum, warmup }, networks.teacherStep)
      const note = (alpha: number, sums: Float32Array) =>
        void networks.teacherUpdates.push({ update: networks.teacherStep++, alpha, sums })
      const byTrainer = (trainer: Trainer) => {
        const alpha = nextAlpha()
        note(alpha, trainer.moveTeachers(alpha))
      }
      const update = Effect.gen(function* () {
        if (networks.trainer) return byTrainer(networks.trainer)
        const { tf } = networks.session
        const alpha = nextAlpha()
        const moved = yield* Effect.forEach(students, networks.get)
        for (const { name, parameters } of moved)
          moveTeacher(tf, (yield* networks.get(teacherOf(name))).parameters, parameters, alpha)
        const sums = () => tf.concat(moved.map(({ parameters }) => parameterSums(tf, parameters)))
        note(alpha, valuesOf(tf, sums) as Float32Array)
      })
      /** Updates that came before their step, whose rows are still to come. */
      let early = 0
      if (when === "before-forward")
        networks.beforeStep = (trainer) => {
          byTrainer(trainer)
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
        ),
        "teacher-updates": Stream.fromEffect(
          Effect.andThen(Deferred.await(finished), () =>
            Effect.map(Effect.forEach(students, networks.get), (of) => updatesBatch(networks.teacherUpdates, of))
          )
        )
      }
    })
})
