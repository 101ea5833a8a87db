/** What a training would have left, without one: losses, and networks of two small tensors whose teachers follow them. */
import type { RecordBatch } from "apache-arrow"
import { random } from "#data/random.ts"
import { learningRate } from "#model/learning-rate.ts"
import { alphaOf, teacherOf } from "#model/mean-teacher.ts"
import { lossNames, termWeights } from "#model/objective.ts"
import { parameterSum } from "#model/parameter-sums.ts"
import { batchOf } from "#schemas/artifact.ts"
import { checkpoint } from "#schemas/checkpoint.ts"
import { float32 } from "#schemas/column.ts"
import { teacherUpdates } from "#schemas/teacher-updates.ts"
import { trainMetrics } from "#schemas/train-metrics.ts"
import type { EmaUpdateParams } from "#stages/ema-update.ts"
import type { TrainStepParams } from "#stages/train-step.ts"

type Params = typeof TrainStepParams.Type

const shapes: Readonly<Record<string, ReadonlyArray<number>>> = {
  "backbone.conv1.weight": [4, 3, 3, 3],
  "feat_bn.weight": [8]
}

/** Tensors by network and name. */
export type DrawnNetworks = ReadonlyMap<string, ReadonlyMap<string, Float32Array>>

export interface Trained {
  readonly networks: DrawnNetworks
  /** Updates of the teachers so far. */
  readonly updates: number
}

const sizeOf = (name: string) => shapes[name]!.reduce((a, b) => a * b, 1)

/** Networks that nothing has trained. */
export const newNetworks = (names: ReadonlyArray<string>): DrawnNetworks =>
  new Map(
    names.map((network) => {
      const draw = random(7, "network", network)
      return [
        network,
        new Map(
          Object.keys(shapes).map((name) => [name, Float32Array.from({ length: sizeOf(name) }, () => draw.normal())])
        )
      ]
    })
  )

/** Loss terms that fall over the epochs; `total` is their weighted sum, as it is recorded. */
export const drawnMetrics = (params: Params, ...key: ReadonlyArray<string | number>): RecordBatch => {
  const { epoch, iterations } = params
  const draw = random(7, "losses", ...key, epoch)
  const names = lossNames(params.loss, params.students.length)
  const weights = new Map<string, number>(termWeights(params.loss))
  const losses = Object.fromEntries(names.map((name) => [name, new Float32Array(iterations)]))
  for (let row = 0; row < iterations; row++) {
    let total = 0
    for (const name of names.slice(0, -1)) {
      const value = Math.fround(4 * Math.exp(-(epoch + row / iterations) / 12) + draw.uniform(0, 0.5))
      losses[name]![row] = value
      total += weights.get(name.replace(/\d+$/, ""))! * value
    }
    losses.total![row] = total
  }
  return batchOf(
    trainMetrics,
    {
      epoch: new Int32Array(iterations).fill(epoch),
      iteration: Int32Array.from({ length: iterations }, (_, i) => i),
      learningRate: Float32Array.from({ length: iterations }, (_, i) =>
        learningRate(params.schedule, epoch, i, iterations)
      ),
      millis: new Float32Array(iterations).fill(Number.NaN)
    },
    {},
    { columns: Object.fromEntries(names.map((name) => [name, float32])), view: losses }
  )
}

const stepped = (tensor: Float32Array, draw: ReturnType<typeof random>) =>
  tensor.map((value) => value + 0.02 * draw.uniform(-1, 1))

/** The students after an epoch of steps, and the teachers after as many updates, which are recorded. */
export const trainedNetworks = (
  before: Trained,
  { students, iterations, epoch }: Params,
  ema: typeof EmaUpdateParams.Type | undefined,
  ...key: ReadonlyArray<string | number>
) => {
  const draw = random(7, "steps", ...key, epoch)
  const parameters = students.flatMap((student) => Object.keys(shapes).map((name) => [student, name] as const))
  const tensors = new Map(
    parameters.flatMap(([student, name]) => {
      const own = before.networks.get(student)!.get(name)!
      const teacher = before.networks.get(teacherOf(student))?.get(name) ?? own
      return [
        [`${student} ${name}`, own] as const,
        ...(ema ? [[`${teacherOf(student)} ${name}`, teacher] as const] : [])
      ]
    })
  )
  const alphas = Array.from({ length: iterations }, (_, i) => (ema ? alphaOf(ema, before.updates + i) : 0))
  const sums: Array<number> = []
  for (const alpha of alphas)
    for (const [student, name] of parameters) {
      const own = stepped(tensors.get(`${student} ${name}`)!, draw)
      tensors.set(`${student} ${name}`, own)
      const teacher = tensors.get(`${teacherOf(student)} ${name}`)
      sums.push(parameterSum(name, shapes[name]!, own).sum)
      if (teacher)
        tensors.set(
          `${teacherOf(student)} ${name}`,
          teacher.map((value, i) => Math.fround(alpha) * value + Math.fround(1 - alpha) * own[i]!)
        )
    }
  const networks = new Map(
    [...Map.groupBy(tensors, ([id]) => id.split(" ")[0]!)].map(([network, own]) => [
      network,
      new Map(own.map(([id, values]) => [id.split(" ")[1]!, values]))
    ])
  )
  const updates = batchOf(
    teacherUpdates,
    {
      update: Int32Array.from(alphas, (_, i) => before.updates + i),
      alpha: Float64Array.from(alphas),
      studentSums: Float32Array.from(sums)
    },
    { parameters: parameters.map(([student, name]) => `${student}/${name}`) }
  )
  return { trained: { networks, updates: before.updates + (ema ? iterations : 0) } satisfies Trained, updates }
}

export const checkpointBatch = ({ networks, updates }: Trained): RecordBatch => {
  const rows = [...networks].flatMap(([network, own]) => [...own].map(([name, values]) => ({ network, name, values })))
  return batchOf(
    checkpoint,
    {
      network: rows.map(({ network }) => network),
      name: rows.map(({ name }) => name),
      dtype: rows.map(() => "float32"),
      shape: rows.map(({ name }) => [...shapes[name]!]),
      data: rows.map(({ values }) => new Uint8Array(values.buffer))
    },
    { model: "{}", teacherStep: updates }
  )
}
