/** Tapped updates of the mean teachers, value by value: the networks before one, and the teachers after it. */
import { Effect, Stream } from "effect"
import type { Findings } from "#audit/check.ts"
import { type OpenRun, placeOf, type RecordedFile } from "#audit/open-run.ts"
import { teacherKey } from "#audit/teacher-sums.ts"
import { readBatches } from "#pipeline/arrow-file.ts"
import { metadataOf, viewOf } from "#schemas/artifact.ts"
import { checkpoint } from "#schemas/checkpoint.ts"
import { teacherUpdates } from "#schemas/teacher-updates.ts"

/** Two products, and their sum: each rounded. */
const tolerance = 2 ** -22

const readAlphas = (run: OpenRun, file: RecordedFile) =>
  Effect.gen(function* () {
    const alphas: Array<number> = []
    const moved = new Set<string>()
    yield* Stream.runForEach(readBatches(teacherUpdates, placeOf(run, file)), (batch) =>
      Effect.gen(function* () {
        alphas.push(...viewOf(teacherUpdates, batch).alpha)
        const { parameters } = yield* Effect.fromResult(metadataOf(teacherUpdates, batch, file.path))
        for (const key of parameters) moved.add(teacherKey(key))
      })
    )
    return { alphas, moved }
  })

const valuesOf = (bytes: Uint8Array) => new Float32Array(bytes.slice().buffer)

/** The first value that an update did not make so. */
const updateProblem = (alpha: number, before: Float32Array, student: Float32Array, after: Float32Array) => {
  const [keeps, takes] = [Math.fround(alpha), Math.fround(1 - alpha)]
  for (const [i, value] of after.entries()) {
    const [kept, taken] = [keeps * before[i]!, takes * student[i]!]
    if (!(Math.abs(kept + taken - value) <= tolerance * (Math.abs(kept) + Math.abs(taken))))
      return `value ${i} is ${value}, the update gives ${Math.fround(kept + taken)}`
  }
  return undefined
}

/** Checks the tapped updates of a task, if there are any; gives how many. */
export const checkTappedUpdates = (run: OpenRun, task: string, updates: RecordedFile, findings: Findings) =>
  Effect.gen(function* () {
    const file = run.files.find((one) => one.task === task && one.port === "tap networks")
    if (file === undefined) return 0
    const { alphas, moved } = yield* readAlphas(run, updates)
    let before = new Map<string, Uint8Array>()
    let [at, count] = [0, 0]
    yield* Stream.runForEach(readBatches(checkpoint, placeOf(run, file)), (batch) =>
      Effect.sync(() => {
        const { network, name, data } = viewOf(checkpoint, batch)
        const tensors = network.map((of, row) => [`${of}/${name[row]}`, data[row]!] as const)
        const iteration = Number(batch.metadata.get("iteration"))
        const isAfter = batch.metadata.get("moment") === "after-update"
        for (const [row, [key, bytes]] of isAfter ? tensors.entries() : []) {
          const [was, student] = [before.get(key), before.get(key.replace("teacher", "student"))]
          const problem =
            !was || !student
              ? "it is not there before the update"
              : moved.has(key)
                ? updateProblem(alphas[iteration]!, valuesOf(was), valuesOf(student), valuesOf(bytes))
                : Buffer.compare(was, bytes) === 0
                  ? undefined
                  : "it is no parameter, and the update changed it"
          if (problem)
            findings.add({
              file: file.path,
              row: at + row,
              column: "data",
              problem: `iteration ${iteration}, ${key.replace("/", " ")}: ${problem}`
            })
        }
        if (isAfter) count++
        else before = new Map(tensors)
        at += batch.numRows
      })
    )
    return count
  })
