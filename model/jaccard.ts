/**
 * The k-reciprocal Jaccard distance of many points, sparse: what is held grows with points × neighbours, and no matrix of all
 * pairs is made. Source: OpenUnReID `core/utils/compute_dist.py`; the original code's `utils/rerank.py`.
 */
import { availableParallelism } from "node:os"
import { Context, Effect } from "effect"
import { Piscina } from "piscina"
import type { TensorFlow } from "#engine/tensorflow.ts"
import type { Points } from "#model/distance-blocks.ts"
import { type EncodingSettings, rankLength } from "#model/k-reciprocal.ts"
import { type RowStep, workOnRows } from "#model/k-reciprocal-worker.ts"
import { nearestCandidates } from "#model/neighbours.ts"
import { emptyLists, type NormedPoints } from "#model/rank-lists.ts"
import { joined, mirrored, type SparseRows, transposed } from "#model/sparse-rows.ts"

/** Threads that share the rows; they change no result. */
export const JaccardThreads = Context.Reference<number>("mmt/model/JaccardThreads", {
  defaultValue: () => availableParallelism()
})

/** Hears how far the work is, from 0 to 1. */
export type OnShare = (share: number) => void

/** Candidates beside the length of a rank list: float32 may take neighbours for one another that are nearly as near. */
const spare = 10

/** Rows of a job: enough that a thread is not kept waiting, few enough that none waits for the last one. */
const jobRows = 512

/** Below these rows no thread is worth its start. */
const leastRows = 2048

type Work = (work: RowStep) => Effect.Effect<SparseRows>

/** Works on all rows of a step, in threads where there are many. */
const rowWork = (rows: number) =>
  Effect.gen(function* () {
    const threads = rows < leastRows ? 1 : yield* JaccardThreads
    const jobs = Array.from({ length: Math.ceil(rows / jobRows) }, (_, i) => ({
      from: i * jobRows,
      to: Math.min(rows, (i + 1) * jobRows)
    }))
    if (threads === 1) {
      const inTurn: Work = (work) =>
        Effect.map(
          Effect.forEach(jobs, (job) =>
            Effect.andThen(
              Effect.yieldNow,
              Effect.sync(() => workOnRows({ work, ...job }))
            )
          ),
          joined
        )
      return inTurn
    }
    const filename = new URL("./k-reciprocal-worker.ts", import.meta.url).href
    const pool = yield* Effect.acquireRelease(
      Effect.sync(() => new Piscina({ filename, minThreads: threads, maxThreads: threads })),
      (p) => Effect.promise(() => p.destroy())
    )
    const sideBySide: Work = (work) =>
      Effect.map(
        Effect.forEach(
          jobs,
          (job) =>
            Effect.promise((signal): Promise<ReturnType<typeof workOnRows>> => pool.run({ work, ...job }, { signal })),
          { concurrency: threads + 1 }
        ),
        joined
      )
    return sideBySide
  })

/** Copies into memory that threads can share, with room for the norms. */
const shared = (points: Points): NormedPoints => {
  const values = new Float32Array(new SharedArrayBuffer(points.values.byteLength))
  values.set(points.values)
  return { ...points, values, norms: new Float64Array(new SharedArrayBuffer(8 * points.rows)) }
}

/** Points encoded by their neighbours. */
export interface Encoded {
  /** V of each point after averaging: its neighbours' weights, which sum up to 1. */
  readonly rows: SparseRows
  /** Its transpose: the points that have a neighbour. */
  readonly inverse: SparseRows
  /** Of each point what the original encoding divides its squared distances by; 1 in OpenUnReID's. */
  readonly scales: Float64Array
}

/** The work up to the encoding; the search for neighbours takes most of it. */
const encode = (tf: TensorFlow, given: Points, settings: EncodingSettings, work: Work, onShare: OnShare) =>
  Effect.gen(function* () {
    const { rows } = given
    const length = Math.min(rows, rankLength(settings))
    const scaled = settings.encoding === "official"
    const wanted = Math.min(rows, length + spare)
    const candidates = yield* nearestCandidates(tf, given, wanted, scaled, onShare)
    const points = shared(given)
    yield* work({ step: "norms", points })
    const lists = emptyLists(rows, length)
    yield* work({ step: "rank", points, candidates, lists })
    const own = yield* work({ step: "encode", points, lists, settings })
    const averaged = settings.k2 === 1 ? own : yield* work({ step: "average", rows: own, lists, settings })
    return { rows: averaged, inverse: transposed(averaged), scales: lists.scales } satisfies Encoded
  })

/** The k-reciprocal encoding of points. */
export const encodePoints = Effect.fn("encodePoints")(function* (
  tf: TensorFlow,
  points: Points,
  settings: EncodingSettings,
  onShare: OnShare
) {
  return yield* encode(tf, points, settings, yield* rowWork(points.rows), onShare)
}, Effect.scoped)

/**
 * Of each point the others whose Jaccard distance is at most `limit`, with it; both are float32, as the reference compares
 * them. Points that share no neighbour have distance 1 and are never listed.
 */
export const jaccardGraph = Effect.fn("jaccardGraph")(function* (
  tf: TensorFlow,
  points: Points,
  settings: EncodingSettings,
  limit: number,
  onShare: OnShare
) {
  const work = yield* rowWork(points.rows)
  const { rows, inverse } = yield* encode(tf, points, settings, work, onShare)
  return mirrored(yield* work({ step: "jaccard", rows, inverse, limit: Math.fround(limit) }))
}, Effect.scoped)
