/** Borders around images. */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import type { TensorFlow } from "#engine/tensorflow.ts"

/** Images [N, H, W, C] with `by` pixels of a value around each. */
export const bordered = (tf: TensorFlow, x: tfjs.Tensor4D, by: number, value: number): tfjs.Tensor4D =>
  tf.pad4d(
    x,
    [
      [0, 0],
      [by, by],
      [by, by],
      [0, 0]
    ],
    value
  )
