/** How far the mean teachers are from their students, in weights; their scores are in the score table's rows. */
import { Effect, Stream } from "effect"
import { inletOf } from "#pipeline/arrow-file.ts"
import { adaptations } from "#pipeline/plan.ts"
import { folderOf, students, teachers } from "#pipeline/task-plan.ts"
import { filesOf, type RunData } from "#report/run-data.ts"
import { viewOf } from "#schemas/artifact.ts"
import { checkpoint } from "#schemas/checkpoint.ts"

/** ‖teacher − student‖ / ‖student‖ over all float32 tensors that both have, after each epoch. */
export interface TeacherDistances {
  readonly adaptation: string
  readonly epochs: ReadonlyArray<number>
  /** By pair of networks (1, 2), a value an epoch. */
  readonly pairs: ReadonlyArray<ReadonlyArray<number>>
}

/** Checkpoints beyond this many bytes are not read for a chart: a run of ResNet-50s has a gigabyte an epoch. */
export const mostCheckpointBytes = 2e9

type Tensors = ReadonlyMap<string, Float32Array>

/** Float32 tensors of each network; optimizer moments are not weights. */
const readNetworks = Effect.fnUntraced(function* (files: ReadonlyArray<string>) {
  const networks = new Map<string, Map<string, Float32Array>>()
  for (const batch of yield* Stream.runCollect(inletOf(checkpoint, files).batches)) {
    const { network, name, dtype, data } = viewOf(checkpoint, batch)
    for (const [row, of] of network.entries()) {
      if (dtype[row] !== "float32" || name[row]!.startsWith("adam.")) continue
      const tensors = networks.get(of) ?? new Map<string, Float32Array>()
      networks.set(of, tensors.set(name[row]!, new Float32Array(data[row]!.slice().buffer)))
    }
  }
  return networks
})

const distance = (teacher: Tensors, student: Tensors) => {
  let apart = 0
  let norm = 0
  for (const [name, values] of student) {
    const other = teacher.get(name)
    if (other?.length !== values.length) continue
    for (let i = 0; i < values.length; i++) {
      apart += (other[i]! - values[i]!) ** 2
      norm += values[i]! ** 2
    }
  }
  return Math.sqrt(apart / norm)
}

const checkpointBytes = ({ records }: RunData, tasks: ReadonlyArray<string>) =>
  tasks.flatMap((task) => records.get(task)?.outputs.checkpoint?.files ?? []).reduce((sum, { bytes }) => sum + bytes, 0)

/** Of each adaptation with mean teachers, as far as it is trained; none where the checkpoints are too large to read. */
export const teacherDistances = Effect.fn("teacherDistances")(function* (run: RunData) {
  const all: Array<TeacherDistances> = []
  for (const [adaptation, { epochs, meanTeachers }] of adaptations(run.config)) {
    if (!meanTeachers) continue
    const trained = Array.from({ length: epochs }, (_, i) => i + 1).filter((epoch) =>
      run.records.has(folderOf(adaptation, "train", epoch))
    )
    const tasks = trained.map((epoch) => folderOf(adaptation, "train", epoch))
    if (trained.length === 0 || checkpointBytes(run, tasks) > mostCheckpointBytes) continue
    const pairs = students.map((): Array<number> => [])
    for (const task of tasks) {
      const networks = yield* readNetworks(filesOf(run, task, "checkpoint"))
      for (const [i, student] of students.entries()) {
        const [own, teacher] = [networks.get(student), networks.get(teachers[i]!)]
        pairs[i]!.push(own && teacher ? distance(teacher, own) : Number.NaN)
      }
    }
    all.push({ adaptation, epochs: trained, pairs })
  }
  return all
})
