/**
 * The greatest values of a matrix by row and by column. On the CPU it is one op, `addon/greatest.cc`, which reads each value
 * once; on a GPU it is composed of tfjs's ops.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { backendOf, runOp } from "#engine/op.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"

/** Lists [lists, count] in descending order, of equal values the first one first; where a list has no more, −∞. */
export interface Greatest {
  readonly values: tfjs.Tensor2D
  /** Column or row of each value. */
  readonly indices: tfjs.Tensor2D
}

/**
 * The `count` greatest values of each row of a matrix and of each column. A value at or below the floor of its list may be missing
 * there: floors [rows] and [columns] spare the work on what is not wanted any more.
 */
export type GreatestOf = (
  tf: TensorFlow,
  matrix: tfjs.Tensor2D,
  count: number,
  floors: { readonly rows: tfjs.Tensor1D; readonly columns: tfjs.Tensor1D }
) => { readonly rows: Greatest; readonly columns: Greatest }

export const greatestOf: GreatestOf = (tf, ...given) =>
  (backendOf(tf).isUsingGpuDevice ? composedGreatest : fusedGreatest)(tf, ...given)

/** By the CPU's own op. */
export const fusedGreatest: GreatestOf = (tf, matrix, count, floors) => {
  const inputs = [matrix, floors.rows, floors.columns]
  const found = runOp(tf, "MmtGreatest", { count: { int: count } }, inputs, 4) as Array<tfjs.Tensor2D>
  const [rowValues, rowIndices, columnValues, columnIndices] = found
  return {
    rows: { values: rowValues!, indices: rowIndices! },
    columns: { values: columnValues!, indices: columnIndices! }
  }
}

/** By tfjs's ops, on any device; all that it finds is given, whatever the floors are. */
export const composedGreatest: GreatestOf = (tf, matrix, count) => {
  const lists = (of: tfjs.Tensor2D): Greatest => {
    const { values, indices } = tf.topk(of, count, true)
    return { values, indices: indices as tfjs.Tensor2D }
  }
  return { rows: lists(matrix), columns: lists(tf.transpose(matrix)) }
}
