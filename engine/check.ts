/**
 * Checks a set-up engine: what it is, and that a convolution and its gradients come out as computed by hand.
 */
import { readdirSync, readFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { join } from "node:path"
import { Effect, Schema } from "effect"
import { conv2d } from "#engine/convolution.ts"
import { backendOf } from "#engine/op.ts"
import { EngineThreads } from "#engine/session.ts"
import { loadTensorFlow, type TensorFlow } from "#engine/tensorflow.ts"

/** TensorFlow computes something else than it should. */
export class WrongResult extends Schema.TaggedError<WrongResult>()("WrongResult", {
  what: Schema.String,
  expected: Schema.String,
  found: Schema.String
}) {
  override get message() {
    return `TensorFlow computes a wrong ${this.what}: expected ${this.expected}, found ${this.found}.\nRun \`npm run -s mmt -- engine install --force\` to set it up anew.`
  }
}

/** What `checkEngine` found. */
export interface EngineReport {
  readonly version: string
  /** "CPU", or the GPU's name. */
  readonly device: string
  /** Threads that share the work of one op. */
  readonly intraOpThreads: number
  /** Ops that may run at the same time. */
  readonly interOpThreads: number
  /** The results that were compared, by name. */
  readonly results: ReadonlyArray<{ readonly what: string; readonly values: ReadonlyArray<number> }>
}

// The image 1..9 (3x3) under the kernel 1..4 (2x2), and the gradients of the sum of its four outputs.
const expected = {
  convolution: [37, 47, 67, 77],
  "gradient by the image": [1, 3, 2, 4, 10, 6, 3, 7, 4],
  "gradient by the kernel": [12, 16, 24, 28]
}

function compute(tf: TensorFlow): Readonly<Record<keyof typeof expected, ReadonlyArray<number>>> {
  return tf.tidy(() => {
    const image = tf.tensor4d([1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 3, 3, 1])
    const kernel = tf.tensor4d([1, 2, 3, 4], [2, 2, 1, 1])
    const convolve = (x: typeof image, w: typeof kernel) => conv2d(tf, x, w, 1, 0)
    const [byImage, byKernel] = tf.grads((x, w) => convolve(x as typeof image, w as typeof kernel).sum())([
      image,
      kernel
    ])
    return {
      convolution: [...convolve(image, kernel).dataSync()],
      "gradient by the image": [...byImage!.dataSync()],
      "gradient by the kernel": [...byKernel!.dataSync()]
    }
  })
}

function gpuName(): string {
  const folder = "/proc/driver/nvidia/gpus"
  try {
    const [first] = readdirSync(folder)
    return readFileSync(join(folder, first!, "information"), "utf8").match(/^Model:\s*(.+)$/m)![1]!
  } catch {
    return "GPU"
  }
}

const threads = (name: string) => Number(process.env[name]) || availableParallelism()

/** Loads TensorFlow and compares its results with known ones. */
export const checkEngine = Effect.gen(function* () {
  const tf = yield* loadTensorFlow(yield* EngineThreads)
  const found = compute(tf)
  for (const [what, values] of Object.entries(expected)) {
    const actual = found[what as keyof typeof expected].join(" ")
    if (actual !== values.join(" ")) return yield* new WrongResult({ what, expected: values.join(" "), found: actual })
  }
  const backend = backendOf(tf)
  const report: EngineReport = {
    version: backend.binding.TF_Version,
    device: backend.isUsingGpuDevice ? gpuName() : "CPU",
    intraOpThreads: threads("TF_NUM_INTRAOP_THREADS"),
    interOpThreads: threads("TF_NUM_INTEROP_THREADS"),
    results: Object.entries(found).map(([what, values]) => ({ what, values }))
  }
  return report
})
