/**
 * Candidates for the nearest neighbours of each of many points, on the engine. The points lie in blocks; the distances of two
 * blocks are one matrix product, which serves the rows of the one block and, on its side, those of the other. It is there only
 * until its least are taken, so the memory is that of a few blocks, whatever the number of points.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { Effect } from "effect"
import { compile, type StepSpec } from "#engine/compile.ts"
import { greatestOf } from "#engine/greatest.ts"
import { runOp } from "#engine/op.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"
import { CandidateLists, type Found } from "#model/candidate-lists.ts"
import type { Points } from "#model/distance-blocks.ts"

/** Rows of a block at most: what bounds the memory. Below the least, a product is too little work. */
const [leastHeight, mostHeight] = [512, 4096]

/** Blocks at least, where they are not too small: of a block with itself all distances are computed twice. */
const leastBlocks = 4

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

/** The search in a pair of blocks: for the rows of the one among those of the other, and the other way round unless both are one. */
const search = (
  tf: TensorFlow,
  points: tfjs.Tensor2D,
  height: number,
  count: number,
  withFarthest: boolean,
  isPair: boolean
): StepSpec => {
  const width = points.shape[1]
  const block = (start: tfjs.Tensor) => {
    const size = tf.tensor1d([height, width], "int32")
    const types = { T: { type: "float32" }, Index: { type: "int32" } } as const
    return runOp(tf, "Slice", types, [points, start, size], 1)[0] as tfjs.Tensor2D
  }
  /** With its last columns exchanged, so that its product with another block is xy − ‖x‖²/2 − ‖y‖²/2. */
  const exchanged = (x: tfjs.Tensor2D) => {
    const column = (at: number) => tf.slice<tfjs.Rank.R2, tfjs.Tensor2D>(x, [0, at], [height, 1])
    return tf.concat(
      [tf.slice<tfjs.Rank.R2, tfjs.Tensor2D>(x, [0, 0], [height, width - 2]), column(width - 1), column(width - 2)],
      1
    )
  }
  const named = (side: string, tensors: object) =>
    Object.entries(tensors).map(([name, tensor]) => [`${side} ${name}`, tensor as tfjs.Tensor] as const)
  const sides = isPair ? (["one", "other"] as const) : (["one"] as const)
  const inputs = lanes.flatMap((lane) =>
    ["one", "other"].flatMap((side) => [
      [`${lane} ${side} start`, { shape: [2], dtype: "int32" }] as const,
      [`${lane} ${side} floors`, { shape: [height], dtype: "float32" }] as const
    ])
  )
  return {
    inputs: Object.fromEntries(inputs),
    step: (given) => {
      const outputs = lanes.flatMap((lane) => {
        const [one, other] = [block(given[`${lane} one start`]!), block(given[`${lane} other start`]!)]
        const nearness: tfjs.Tensor2D = tf.matMul(exchanged(one), other, false, true)
        const floors = (side: string) => given[`${lane} ${side} floors`] as tfjs.Tensor1D
        const greatest = greatestOf(tf, nearness, count, floors("one"), isPair ? floors("other") : undefined)
        const nearest = { one: greatest.rows, other: greatest.columns }
        return sides.flatMap((side) => {
          const found = named(`${lane} ${side}`, nearest[side]!)
          if (!withFarthest) return found
          const ofSide = side === "one" ? nearness : (tf.transpose(nearness) as tfjs.Tensor2D)
          return [...found, ...named(`${lane} ${side}`, farthestOf(tf, ofSide))]
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
  const blocks = Math.ceil(rows / height)
  const variable = yield* Effect.acquireRelease(
    Effect.sync(() => declarePoints(tf, points, blocks * height)),
    (declared) => Effect.sync(() => tf.dispose(declared))
  )
  const perBlock = Math.min(count, height)
  const searchIn = (isPair: boolean) =>
    search(tf, variable as tfjs.Tensor as tfjs.Tensor2D, height, perBlock, withFarthest, isPair)
  const program = yield* compile(tf, [variable], { itself: searchIn(false), pair: searchIn(true) })
  program.load([variable])
  const lists = new CandidateLists(rows, count, withFarthest)
  let done = 0
  const searchPairs = (step: "itself" | "pair", pairs: ReadonlyArray<Pair>) => {
    const inputs = lanes.flatMap((lane, at) =>
      // Where a lane has nothing to do it repeats another's pair.
      (pairs[at] ?? pairs[0]!).flatMap((block, of) => {
        const side = `${lane} ${of === 0 ? "one" : "other"}`
        return [
          [`${side} start`, Int32Array.of(block * height, 0)] as const,
          [`${side} floors`, lists.floors(block * height, height)] as const
        ]
      })
    )
    const outputs = program.run(step, Object.fromEntries(inputs))
    const found = (side: string) =>
      ({
        count: perBlock,
        values: outputs[`${side} values`],
        indices: outputs[`${side} indices`],
        least: outputs[`${side} least`],
        farthest: outputs[`${side} farthest`]
      }) as Found
    for (const [at, [one, other]] of pairs.entries()) {
      lists.add(one * height, other * height, found(`${at} one`))
      if (step === "pair") lists.add(other * height, one * height, found(`${at} other`))
      done += step === "pair" ? 2 : 1
    }
    onShare(done / blocks ** 2)
  }
  const all = Array.from({ length: blocks }, (_, block) => block)
  const pairs = {
    // First, since what is near within a block spares work on all others.
    itself: all.map((block): Pair => [block, block]),
    pair: all.flatMap((block) => all.slice(block + 1).map((other): Pair => [block, other]))
  }
  for (const step of ["itself", "pair"] as const)
    for (let at = 0; at < pairs[step].length; at += sideBySide) {
      searchPairs(step, pairs[step].slice(at, at + sideBySide))
      yield* Effect.yieldNow
    }
  return lists
}, Effect.scoped)
