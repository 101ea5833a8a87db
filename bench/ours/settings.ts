/** What our side says of how it was set up. */
import { availableParallelism } from "node:os"
import { backendOf } from "#engine/op.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"

const counted = (variable: string, noun: string) => {
  const count = Number(process.env[variable]) || availableParallelism()
  return `${count} ${noun}${count === 1 ? "" : "s"}`
}

/** TensorFlow's version, and the threads that it was loaded with. */
export const settingsOf = (tf: TensorFlow): string => {
  const threads = `${counted("TF_NUM_INTRAOP_THREADS", "thread")} an op, ${counted("TF_NUM_INTEROP_THREADS", "op")} at a time`
  return `mmt, TensorFlow ${backendOf(tf).binding.TF_Version}, ${threads}`
}
