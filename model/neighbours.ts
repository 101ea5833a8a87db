/**
 * Candidates for the nearest neighbours of each of many points, on the engine. The points lie in blocks; the distances of two
 * blocks are one matrix product, which serves the rows of the one block and, on its side, those of the other. It is there only
 * until its least are taken, so the memory is that of a few blocks, whatever the number of points.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { Effect } from "effect"
import { compile, release, type StepSpec } from "#engine/compile.ts"
import { greatestOf } from "#engine/greatest.ts"
import { runOp } from "#engine/op.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"
import { CandidateLists, type Found } from "#model/candidate-lists.ts"
import type { Points } from "#model/distance-blocks.ts"

/** Rows of a block at most: what bounds the memory. Below the least, a product is too little work. */
const [leastHeight, mostHeight] = [512, 4096]

/** Blocks at least, where they are not too small: of a block with itself all distances are computed twice. */
const leastBlocks = 8

/** Pairs of blocks that a call works on, side by side. */
const sideBySide = 2

/** Half the squared norm of a row after the last point: it is so far that it is among no nearest. */
const farAway = 1e37

type Pair = readonly [block: number, other: number]

/** The blocks' height, such that each starts where TensorFlow gives a part of a tensor without copying it. */
const heightOf = (rows: number): number => {
  const height = Math.min(mostHeight, Math.max(leastHeight, Math.ceil(rows / leastBlocks)))
  return 16 * Math.ceil(rows / Math.ceil(rows / height) / 16)
}

/** The points as [x, −‖x‖²/2, 1], as many rows as the blocks have. */
const declarePoints = (tf: TensorFlow, { values, rows, dimension }: Points, blockRows: number) =>
  tf.tidy(() => {
    const points = tf.tensor2d(values, [rows, dimension])
    const halfNorms = tf.mul(-0.5, tf.sum(tf.square(points), 1, true)) as tfjs.Tensor2D
    const after = tf.tensor1d([...new Float32Array(dimension), -farAway, 1]).reshape<tfjs.Tensor2D>([1, -1])
    const own = tf.concat([points, halfNorms, tf.ones<tfjs.Rank.R2>([rows, 1])], 1)
    return tf.variable(tf.concat([own, tf.tile(after, [blockRows - rows, 1])], 0))
  })

/** Of each row of −‖x − y‖²/2 the least value and its column: the farthest point. */
const farthestOf = (tf: TensorFlow, nearness: tfjs.Tensor2D) => {
  const present = tf.where(tf.greater(nearness, -farAway / 10), nearness, tf.zerosLike(nearness))
  return { least: tf.min(present, 1), farthest: tf.argMin(present, 1) }
}

const lanes = Array.from({ length: sideBySide }, (_, lane) => String(lane))

const sides = ["rows", "columns"] as const

/** The search in a pair of blocks: for the points of the one, the rows, among those of the other, the columns, and the other way round. */
const search = (
  tf: TensorFlow,
  points: tfjs.Tensor2D,
  height: number,
  count: number,
  withFarthest: boolean
): StepSpec => {
  const width = points.shape[1]
  const block = (start: tfjs.Tensor) => {
    const size = tf.tensor1d([height, width], "int32")
    const types = { T: { type: "float32" }, Index: { type: "int32" } } as const
    return runOp(tf, "Slice", types, [points, start, size], 1)[0] as tfjs.Tensor2D
  }
  /** With its last columns exchanged, so that its product with another block is xy − ‖x‖²/2 − ‖y‖²/2. */
  const exchanged = (x: tfjs.Tensor2D) => {
    const part = (at: number, columns: number) => tf.slice<tfjs.Rank.R2, tfjs.Tensor2D>(x, [0, at], [height, columns])
    return tf.concat([part(0, width - 2), part(width - 1, 1), part(width - 2, 1)], 1)
  }
  const inputs = lanes.flatMap((lane) =>
    sides.flatMap((side) => [
      [`${lane} ${side} start`, { shape: [2], dtype: "int32" }] as const,
      [`${lane} ${side} floors`, { shape: [height], dtype: "float32" }] as const
    ])
  )
  return {
    inputs: Object.fromEntries(inputs),
    step: (given) => {
      const outputs = lanes.flatMap((lane) => {
        const of = <T extends tfjs.Tensor>(what: string) => given[`${lane} ${what}`] as T
        const nearness: tfjs.Tensor2D = tf.matMul(
          exchanged(block(of("rows start"))),
          block(of("columns start")),
          false,
          true
        )
        const floors = { rows: of<tfjs.Tensor1D>("rows floors"), columns: of<tfjs.Tensor1D>("columns floors") }
        const nearest = greatestOf(tf, nearness, count, floors)
        return sides.flatMap((side) => {
          const ofSide = () => (side === "rows" ? nearness : (tf.transpose(nearness) as tfjs.Tensor2D))
          const found = { ...nearest[side], ...(withFarthest && farthestOf(tf, ofSide())) }
          return Object.entries(found).map(([name, tensor]) => [`${lane} ${side} ${name}`, tensor] as const)
        })
      })
      return Object.fromEntries(outputs)
    }
  }
}

/** `count` candidates of each point, nearest first as far as float32 tells. `onShare` hears how far the search is, from 0 to 1. */
export const nearestCandidates = Effect.fn("nearestCandidates")(function* (
  tf: TensorFlow,
  points: Points,
  count: number,
  withFarthest: boolean,
  onShare: (share: number) => void
) {
  const { rows } = points
  const height = heightOf(rows)
  const blocks = Array.from({ length: Math.ceil(rows / height) }, (_, block) => block)
  const variable = yield* Effect.acquireRelease(
    Effect.sync(() => declarePoints(tf, points, blocks.length * height)),
    (declared) => Effect.sync(() => tf.dispose(declared))
  )
  const perBlock = Math.min(count, height)
  const program = yield* compile(tf, [variable], {
    search: search(tf, variable as tfjs.Tensor as tfjs.Tensor2D, height, perBlock, withFarthest)
  })
  program.load([variable])
  release(tf, [variable])
  const lists = new CandidateLists(rows, count, withFarthest)
  const searchPairs = (pairs: ReadonlyArray<Pair>) => {
    const inputs = lanes.flatMap((lane, at) =>
      // Where a lane has nothing to do it repeats another's pair.
      (pairs[at] ?? pairs[0]!).flatMap((block, side) => [
        [`${lane} ${sides[side]} start`, Int32Array.of(block * height, 0)] as const,
        [`${lane} ${sides[side]} floors`, lists.floors(block * height, height)] as const
      ])
    )
    const outputs = program.run("search", Object.fromEntries(inputs))
    const found = (side: string) =>
      ({
        count: perBlock,
        values: outputs[`${side} values`],
        indices: outputs[`${side} indices`],
        least: outputs[`${side} least`],
        farthest: outputs[`${side} farthest`]
      }) as Found
    for (const [at, [one, other]] of pairs.entries()) {
      lists.add(one * height, other * height, found(`${at} rows`))
      // Of a block with itself both sides are the same.
      if (one !== other) lists.add(other * height, one * height, found(`${at} columns`))
    }
  }
  // Blocks with themselves come first: what is near there spares work on all others.
  const pairs = blocks.flatMap((apart) => blocks.slice(apart).map((other): Pair => [other - apart, other]))
  for (let at = 0; at < pairs.length; at += sideBySide) {
    searchPairs(pairs.slice(at, at + sideBySide))
    onShare(Math.min(1, (at + sideBySide) / pairs.length))
    yield* Effect.yieldNow
  }
  return lists
}, Effect.scoped)
