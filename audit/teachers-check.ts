/** The check of the mean teachers: E[θ] ← α·E[θ] + (1 − α)·θ, over each epoch by weighted sums, and at tapped iterations value by value. */
import { Effect, Stream } from "effect"
import { type Check, type Findings, overTasks } from "#audit/check.ts"
import { type OpenRun, outputFile, placeOf, type RecordedFile, recordedParams } from "#audit/open-run.ts"
import { checkTappedUpdates } from "#audit/tapped-updates.ts"
import { type Summed, startSums, sumsReader, teacherKey } from "#audit/teacher-sums.ts"
import { alphaOf } from "#model/mean-teacher.ts"
import type { ParameterSum } from "#model/parameter-sums.ts"
import { readBatches } from "#pipeline/arrow-file.ts"
import { ArtifactUnreadable, metadataOf, viewOf } from "#schemas/artifact.ts"
import { teacherUpdates } from "#schemas/teacher-updates.ts"
import { EmaUpdateParams } from "#stages/ema-update.ts"

type Params = typeof EmaUpdateParams.Type

/** What the updates of an epoch make of the sum of a teacher: start · `kept` + `taken` of each parameter. */
interface Moves {
  readonly parameters: ReadonlyArray<string>
  readonly kept: number
  readonly taken: Float64Array
  /** The students' sums at the last update. */
  readonly last: Float32Array
  /** Sum of the squares of what is left at the end of each update's rounding. */
  readonly rounding: number
  /** How far the rounded weights of an update are from adding up to 1, over all updates. */
  readonly drift: number
  readonly count: number
}

/** Reads the updates of an epoch; their numbers and α are checked on the way. */
const readMoves = (run: OpenRun, file: RecordedFile, first: number, params: Params, findings: Findings) =>
  Effect.gen(function* () {
    let moves: { -readonly [K in keyof Moves]: Moves[K] } | undefined
    yield* Stream.runForEach(readBatches(teacherUpdates, placeOf(run, file)), (batch) =>
      Effect.gen(function* () {
        const { update, alpha, studentSums } = viewOf(teacherUpdates, batch)
        const { parameters } = yield* Effect.fromResult(metadataOf(teacherUpdates, batch, file.path))
        const width = parameters.length
        if (studentSums.length !== width * batch.numRows)
          return yield* new ArtifactUnreadable({
            artifact: teacherUpdates.name,
            source: placeOf(run, file),
            problem: `${studentSums.length / batch.numRows} sums a row for ${width} parameters`
          })
        moves ??= {
          parameters,
          kept: 1,
          taken: new Float64Array(width),
          last: new Float32Array(width),
          rounding: 0,
          drift: 0,
          count: 0
        }
        for (let row = 0; row < batch.numRows; row++) {
          const expected = alphaOf(params, first + moves.count)
          const wrong = (column: string, problem: string) =>
            findings.add({ file: file.path, row: moves!.count, column, problem })
          if (update[row] !== first + moves.count) wrong("update", `${update[row]}, expected ${first + moves.count}`)
          if (alpha[row] !== expected) wrong("alpha", `${alpha[row]}, expected ${expected}`)
          // As the engine has them, in float32.
          const [keeps, takes] = [Math.fround(alpha[row]!), Math.fround(1 - alpha[row]!)]
          moves.last = studentSums.slice(row * width, (row + 1) * width)
          moves.kept *= keeps
          for (let i = 0; i < width; i++) moves.taken[i] = keeps * moves.taken[i]! + takes * moves.last[i]!
          moves.rounding = keeps * keeps * moves.rounding + 1
          moves.drift = keeps * moves.drift + Math.abs(keeps + takes - 1)
          moves.count++
        }
      })
    )
    return moves as Moves | undefined
  })

/** Half a unit in the last place of a float32, relative. */
const unit = 2 ** -24

/** A sum in float32 of so many products, by measurement and with room. */
const sumRounding = ({ norm, terms }: ParameterSum) => 4 * unit * norm * Math.sqrt(terms)

/**
 * How far a teacher's sum may be off: each update rounds each value by a few units at random, and what is left of that at
 * the end adds up as the root of squares; the students' sums are rounded too; and the weights' drift is proportional.
 */
const toleranceOf = (end: Summed, start: ParameterSum, { rounding, drift, kept }: Moves) =>
  5 * unit * Math.sqrt(rounding + 4) * Math.max(end.norm, start.norm) +
  (1 - kept) * sumRounding(end) +
  drift * Math.abs(end.sum)

const off = (found: number, tolerance: number) =>
  `${found.toPrecision(3)}, where rounding allows ${tolerance.toPrecision(2)}`

interface Epoch {
  readonly moves: Moves
  readonly start: ReadonlyMap<string, Summed>
  readonly end: ReadonlyMap<string, Summed>
  /** Whether the last update saw the students as they were saved. */
  readonly afterStep: boolean
}

/** Compares a parameter's sums; gives the smallest change of one value that would show. */
const compareParameter = (
  index: number,
  { moves, start, end, afterStep }: Epoch,
  file: RecordedFile,
  named: Set<string>,
  findings: Findings
) => {
  const key = moves.parameters[index]!
  const wrong = (of: Summed, name: string, problem: string) => {
    named.add(`${of.file} ${name}`)
    findings.add({ file: of.file, row: of.row, column: "data", problem: `${name.replace("/", " ")}: ${problem}` })
  }
  const [teacher, student, before] = [end.get(teacherKey(key)), end.get(key), start.get(teacherKey(key))]
  if (!teacher || !student || !before) {
    findings.add({
      file: file.path,
      problem: `${key.replace("/", " ")}: it or its teacher is missing, here or at the start`
    })
    return 0
  }
  const rounding = sumRounding(student)
  const away = Math.abs(student.sum - moves.last[index]!)
  if (afterStep && !(away <= rounding))
    wrong(student, key, `its weighted sum is off from that of the last update by ${off(away, rounding)}`)
  const tolerance = toleranceOf(teacher, before, moves)
  const error = Math.abs(teacher.sum - (moves.kept * before.sum + moves.taken[index]!))
  // What is wrong already at the start is named where it was made.
  if (!(error <= tolerance) && !named.has(`${before.file} ${teacherKey(key)}`))
    wrong(
      teacher,
      teacherKey(key),
      `it does not follow from ${before.file} by the updates: its weighted sum is off by ${off(error, tolerance)}`
    )
  return tolerance
}

export const teachers: Check = {
  name: "mean teachers",
  about: "each teacher follows from the one before and its students by α·E[θ] + (1 − α)·θ, in every parameter tensor",
  unit: "tensors",
  run: (run, findings, tell) => {
    const named = new Set<string>()
    const read = sumsReader(run)
    let [coarsest, tapped] = [0, 0]
    return overTasks(run, "ema-update", findings, tell, (task, record, step) =>
      Effect.gen(function* () {
        const [file, updates] = ["checkpoint", "teacher-updates"].map((port) => outputFile(run, task, port))
        const training = record.steps.find(({ stage }) => stage === "train-step")
        if (!file || !updates || !training) return
        const settings = yield* recordedParams(EmaUpdateParams, step)
        const afterStep = settings.when === "after-step"
        const { start, updates: first } = yield* startSums(run, training, read)
        const { sums: end } = yield* read(file)
        const moves = yield* readMoves(run, updates, first, settings, findings)
        if (moves === undefined) return findings.add({ file: updates.path, problem: "it holds no updates" })
        const trained = outputFile(run, task, "train-metrics")
        if (trained && trained.rows !== moves.count)
          findings.add({ file: updates.path, problem: `${moves.count} updates of ${trained.rows} iterations` })
        for (const index of moves.parameters.keys())
          coarsest = Math.max(
            coarsest,
            compareParameter(index, { moves, start, end, afterStep }, file, named, findings)
          )
        findings.checked += moves.parameters.length
        if (afterStep) tapped += yield* checkTappedUpdates(run, task, updates, findings)
      })
    ).pipe(
      Effect.andThen(() => {
        if (findings.checked > 0)
          findings.note = `shows a change of any one value by ${coarsest.toPrecision(2)} or more${tapped > 0 ? `; ${tapped} tapped updates compared value by value` : ""}`
        return Effect.void
      })
    )
  }
}
