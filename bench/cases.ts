/** The cases that `npm run bench` compares, each a record: what both sides are given, what they run, how it is shown. */
import type { Tolerance } from "./agreement.ts"
import { batchSize } from "./ours/embed-case.ts"
import type { Program } from "./side-process.ts"

/** How the cost of a case is shown: seconds a unit of work, or bytes. */
export interface Measure {
  readonly of: "time" | "memory"
  readonly unit: string
  readonly shown: (cost: number) => number
}

export interface Case {
  readonly name: string
  /** What is compared, in a line. */
  readonly about: string
  /** Writes what both sides read into the folder that it is given; cases of the same program share it. */
  readonly inputs: Program
  /** Both are given the folder of the inputs as their first argument, and these after it. */
  readonly ours: Program
  readonly peer: Program
  /** Whether the peer runs another project's code where a checkout of it is given, as its last argument. */
  readonly peerTakesCheckout?: boolean
  readonly measure: Measure
  /** Units of work that are timed at once; of memory, a round is a process of its own. */
  readonly unitsPerRound: number
  readonly rounds: number
  /** Whether the values come from a whole unit of the timed work, so that no round has to warm the sides up. */
  readonly warmByValues?: boolean
  /** Of the values that the sides introduce themselves with. */
  readonly tolerance: Tolerance
}

const program = (file: string, ...args: ReadonlyArray<string>): Program => ({ file, args })

const perStep: Measure = { of: "time", unit: "ms a step", shown: (seconds) => seconds * 1000 }
const perClustering: Measure = { of: "time", unit: "s a clustering", shown: (seconds) => seconds }
const imagesPerSecond = (imagesPerUnit: number): Measure => ({
  of: "time",
  unit: "images/s",
  shown: (seconds) => imagesPerUnit / seconds
})
const gigabytes: Measure = { of: "memory", unit: "GB", shown: (bytes) => bytes / 1e9 }

/** What float32 leaves of a loss when the order of its sums differs. */
const losses: Tolerance = { relative: 1e-4 }

const training = (name: string, about: string, given: string, compared: number) => ({
  name,
  about,
  inputs: program("ours/training-inputs.ts", given),
  ours: program("ours/step.ts", given, String(compared)),
  peer: program("peer/step.py", String(compared)),
  measure: perStep,
  tolerance: losses
})

export const cases: ReadonlyArray<Case> = [
  {
    ...training("mmt-step-small", "MMT step: 4 small networks, 64 images of 64 × 32, Adam and EMA", "mmt-small", 3),
    unitsPerRound: 10,
    rounds: 11
  },
  {
    ...training("mmt-step-resnet50", "MMT step: 4 ResNet-50, 16 images of 256 × 128, Adam and EMA", "mmt-resnet50", 1),
    unitsPerRound: 1,
    rounds: 7
  },
  {
    ...training("pretrain-step-small", "pre-training step: a small network, 64 images", "pretrain-small", 3),
    unitsPerRound: 30,
    rounds: 11
  },
  {
    name: "embed-resnet50",
    about: "embeddings of decoded images of 256 × 128 by one ResNet-50",
    inputs: program("ours/embed-inputs.ts"),
    ours: program("ours/embed.ts"),
    peer: program("peer/embed.py"),
    measure: imagesPerSecond(batchSize),
    unitsPerRound: 1,
    rounds: 7,
    // An embedding has length 1 in 2,048 dimensions.
    tolerance: { relative: 1e-4, absolute: 1e-6 }
  },
  {
    name: "decode",
    about: "JPEG files of 128 × 64 decoded and resized to 256 × 128",
    inputs: program("ours/decode-inputs.ts"),
    ours: program("ours/decode.ts"),
    peer: program("peer/decode.py"),
    measure: imagesPerSecond(2_048),
    unitsPerRound: 1,
    rounds: 7,
    // Both sides' pixels are the same: one that differed by 1 would move a mean by 3e-5.
    tolerance: { relative: 0, absolute: 1e-6 }
  },
  {
    name: "augment",
    about: "training views of 256 × 128: flip, crop, normalise, erase; two views of 64 images a batch, 2 workers",
    inputs: program("ours/augment-inputs.ts"),
    ours: program("ours/augment.ts"),
    peer: program("peer/augment.py"),
    measure: imagesPerSecond(2 * 64),
    unitsPerRound: 16,
    rounds: 7,
    tolerance: { relative: 1e-4, absolute: 1e-5 }
  },
  {
    name: "kmeans",
    about: "k-means++ and Lloyd's iterations of 12,936 embeddings of 2,048 numbers, 500 clusters",
    inputs: program("ours/kmeans-inputs.ts"),
    ours: program("ours/kmeans.ts"),
    peer: program("peer/kmeans.py"),
    measure: perClustering,
    unitsPerRound: 1,
    rounds: 5,
    tolerance: losses
  },
  {
    name: "jaccard",
    about:
      "DBSCAN on the k-reciprocal Jaccard distance (k1 30, k2 6, eps 0.6) of 12,936 embeddings of 2,048 numbers; labels are compared",
    // Noise strong enough that some images are outliers and some clusters hold several people.
    inputs: program("ours/jaccard-inputs.ts", "12936", "2048", "3"),
    ours: program("ours/jaccard.ts"),
    peer: program("peer/jaccard.py"),
    peerTakesCheckout: true,
    measure: perClustering,
    unitsPerRound: 1,
    rounds: 3,
    warmByValues: true,
    tolerance: { relative: 0 }
  },
  {
    name: "peak-memory-resnet50",
    about: "peak resident memory of loading a checkpoint and 3 MMT steps on ResNet-50, tracing and compiling included",
    inputs: program("ours/training-inputs.ts", "mmt-resnet50"),
    ours: program("ours/step.ts", "mmt-resnet50", "1"),
    peer: program("peer/memory.py", "1"),
    measure: gigabytes,
    unitsPerRound: 3,
    rounds: 3,
    tolerance: losses
  }
]
