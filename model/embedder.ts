/** Embeds images by one or several networks, a whole batch as one call of a compiled graph. */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { Effect } from "effect"
import { compile } from "#engine/compile.ts"
import type { ProgramsShape } from "#engine/programs.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"
import type { Folded } from "#model/layers.ts"
import type { Network } from "#model/network.ts"

const l2Normalised = (tf: TensorFlow, x: tfjs.Tensor2D): tfjs.Tensor2D =>
  tf.div(x, tf.maximum(tf.norm(x, 2, 1, true), 1e-12))

/**
 * Embeddings [N, D] of images [N, H, W, 3]: each network's BNNeck output L2-normalised; of several networks the average,
 * normalised again (the original DBSCAN script and OpenUnReID normalise again, the original k-means script does not).
 */
export const embedImages = (
  tf: TensorFlow,
  networks: ReadonlyArray<Network>,
  pixels: tfjs.Tensor4D,
  folded: ReadonlyArray<Folded>
): tfjs.Tensor2D =>
  tf.tidy(() => {
    const each = networks.map((network, i) => l2Normalised(tf, network.embed(pixels, folded[i])))
    return each.length === 1 ? each[0]! : l2Normalised(tf, tf.div(tf.addN(each), each.length))
  })

/** What a network's BatchNorm folds to, as variables that a program can hold. */
const foldedVariables = (tf: TensorFlow, network: Network): ReadonlyMap<string, tfjs.Variable> => {
  const named = (values: Folded) => [...values].map(([name, value]) => [name, tf.variable(value)] as const)
  return new Map(Object.entries(tf.tidy(() => Object.fromEntries(named(network.fold())))))
}

/** Of a batch of images: how many, height, width. */
export type BatchShape = readonly [images: number, height: number, width: number]

/** Embeddings of normalised pixels [n, H, W, 3], n at most the batch's images; row-major, n × D. */
export type Embedder = (pixels: Float32Array) => Float32Array

/** An embedder by the networks' present weights. An incomplete batch is filled up with black images. */
export const compiledEmbedder = (
  programs: ProgramsShape,
  tf: TensorFlow,
  networks: ReadonlyArray<Network>,
  batch: BatchShape
): Effect.Effect<Embedder, Effect.Error<ReturnType<ProgramsShape["of"]>>> =>
  Effect.gen(function* () {
    const folded = yield* Effect.acquireRelease(
      Effect.sync(() => networks.map((network) => foldedVariables(tf, network))),
      (maps) => Effect.sync(() => tf.dispose(maps.flatMap((map) => [...map.values()])))
    )
    const variables = networks.flatMap((network, i) => [...network.embeddingVariables(), ...folded[i]!.values()])
    const key = JSON.stringify(["embed", networks.map(({ config }) => config), batch])
    const steps = {
      embed: {
        inputs: { pixels: { shape: [...batch, 3], dtype: "float32" } },
        step: ({ pixels }) => ({ embedding: embedImages(tf, networks, pixels as tfjs.Tensor4D, folded) })
      }
    } as const satisfies Parameters<typeof compile<"embed">>[2]
    const program = yield* programs.of(key, compile(tf, variables, steps))
    program.load(variables)
    const [images, height, width] = batch
    const values = height * width * 3
    const { dimension } = networks[0]!
    const embed: Embedder = (pixels) => {
      const whole = pixels.length === images * values ? pixels : new Float32Array(images * values)
      if (whole !== pixels) whole.set(pixels)
      const { embedding } = program.run("embed", { pixels: whole })
      return (embedding as Float32Array).subarray(0, (pixels.length / values) * dimension)
    }
    return embed
  }).pipe(Effect.scoped)
