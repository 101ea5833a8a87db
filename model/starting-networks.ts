/** The networks that a training starts with: those that are there, or new ones, drawn from a seed or with the weights of files. */
import { Effect } from "effect"
import type { ModelConfig } from "#model/config.ts"
import { teacherOf } from "#model/mean-teacher.ts"
import { classifierName } from "#model/network.ts"
import type { NetworksShape } from "#model/networks.ts"
import { readWeights } from "#model/weights.ts"

export interface Start {
  readonly students: ReadonlyArray<string>
  readonly meanTeachers: boolean
  /** Of new students; without it, they must be there. */
  readonly initial?: { readonly model: ModelConfig; readonly seed: number }
  /** Checkpoint files of new students: one for all, or one each. */
  readonly weights?: ReadonlyArray<string>
}

/** The number in a network's name, from 1, by which files of several networks know it. */
const numberOf = (student: string, index: number) => Number(/\d+$/.exec(student)?.[0] ?? index + 1)

/**
 * Reads the files, and gives what makes the networks: the students, and the teachers as copies where they are not there yet. New
 * students have `classes`, whatever their file's classifier is; without it, as there are no batches, they have those of that
 * classifier, or none.
 */
export const startingNetworks = (networks: NetworksShape, { students, meanTeachers, initial, weights = [] }: Start) =>
  Effect.gen(function* () {
    const model = initial?.model
    const files = model && weights.length > 0 ? students.map((_, i) => weights[i] ?? weights[0]!) : []
    const given = yield* Effect.forEach(files, (file, i) => readWeights(file, model!, numberOf(students[i]!, i)))
    const create = (name: string, i: number, { model, seed }: NonNullable<typeof initial>, classes?: number) => {
      const tensors = new Map(given[i]?.tensors)
      const own = tensors.get(classifierName)?.shape[0]
      if (classes !== undefined) tensors.delete(classifierName)
      networks.create(name, model, classes ?? own ?? 0, seed + i, tensors)
    }
    return (classes?: number) =>
      Effect.gen(function* () {
        if (initial && networks.names().length === 0)
          for (const [i, name] of students.entries()) create(name, i, initial, classes)
        const trained = yield* Effect.forEach(students, networks.get)
        const teachers = meanTeachers
          ? yield* Effect.forEach(trained, (student) => {
              const name = teacherOf(student.name)
              return networks.has(name) ? networks.get(name) : Effect.sync(() => networks.copy(student, name))
            })
          : []
        return { trained, teachers }
      })
  })
