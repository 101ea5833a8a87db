/** The checkpoint files that a run starts from, held against its networks before anything is made. */
import { resolve } from "node:path"
import { Effect } from "effect"
import { readCheckpointFile } from "#model/checkpoint-files/read.ts"
import { weightsOfStudent } from "#model/weights.ts"
import type { RunEvent } from "#pipeline/events.ts"
import { architectureOf, isPretrained, weightsFileOf } from "#pipeline/pretraining-plan.ts"
import type { RunConfig } from "#pipeline/run-file.ts"
import { students } from "#pipeline/task-plan.ts"

type WeightsEvent = Extract<RunEvent, { type: "weights" }>

/** Reads the files and tells, student by student, what is taken of each and what not. */
export const checkStartingWeights = Effect.fn("checkStartingWeights")(function* (run: RunConfig) {
  const told: Array<WeightsEvent> = []
  const named = students.map((student) => [weightsFileOf(run, student), student] as const)
  for (const [name, ofFile] of Map.groupBy(named, ([file]) => file)) {
    if (name === undefined) continue
    const file = resolve(run.folder, name)
    const checkpoint = yield* readCheckpointFile(file)
    for (const [, student] of ofFile) {
      const number = students.indexOf(student) + 1
      const { tensors, initial, leftOut } = yield* weightsOfStudent(checkpoint, file, architectureOf(run), number)
      // Pre-training has the source's classes.
      const classifiers = isPretrained(run) ? [...tensors.keys()].filter((key) => key.startsWith("classifier.")) : []
      told.push({
        type: "weights",
        student,
        file: name,
        tensors: tensors.size - classifiers.length,
        initial: classifiers.length > 0 ? [...initial, "classifier"] : initial,
        leftOut: [...leftOut, ...classifiers]
      })
    }
  }
  return told
})
