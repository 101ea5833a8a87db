/** Loads TensorFlow, convolves ones with ones and prints the result: what the tests of silence run in another process. */
import type { Rank } from "@tensorflow/tfjs-node-gpu"
import { Effect } from "effect"
import { loadTensorFlow } from "#engine/tensorflow.ts"

const tf = Effect.runSync(loadTensorFlow())
const sums = tf.conv2d(tf.ones<Rank.R4>([1, 3, 3, 1]), tf.ones<Rank.R4>([2, 2, 1, 1]), 1, "valid")
console.log([...sums.dataSync()].join(" "))
