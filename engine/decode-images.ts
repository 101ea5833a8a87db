/**
 * Decodes JPEG files in one TensorFlow graph, several at the same time: libjpeg's accurate decoder, then PIL's bicubic
 * `Image.resize`, to the byte.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import { Graph, savedModelTag } from "#engine/graph.ts"
import { backendOf } from "#engine/op.ts"
import type { TensorFlow } from "#engine/tensorflow.ts"

/** Decodes to RGB images of one size, [height, width, 3]. */
export interface ImageDecoder {
  /** Writes the image of each of up to `filesAtOnce` files to its place. False where TensorFlow refuses one of them; then no image is written. */
  readonly decode: (files: ReadonlyArray<Uint8Array>, places: ReadonlyArray<Uint8Array>) => boolean
  /** Resizes an RGB image of height × width. */
  readonly resize: (rgb: Uint8Array, height: number, width: number, place: Uint8Array) => void
}

/** How many files `decode` takes at most. */
export const filesAtOnce = 32

/** Where an image comes into the graph, and where its resized bytes leave it. */
interface Lane {
  readonly from: string
  readonly to: string
}

const buildLanes = (graph: Graph, tf: TensorFlow, height: number, width: number) => {
  const { binding } = backendOf(tf)
  const type = (name: string, value: number) => ({ name, type: binding.TF_ATTR_TYPE, value })
  const int = (name: string, value: number) => ({ name, type: binding.TF_ATTR_INT, value })
  const placeholder = (dtype: number, shape: Array<number>) =>
    graph.add("Placeholder", [], [type("dtype", dtype), { name: "shape", type: binding.TF_ATTR_SHAPE, value: shape }])
  const fours = new Uint8Array(Int32Array.of(-1, 4).buffer)
  const resized = (image: string) => {
    const bytes = graph.add("MmtResize", [image], [int("height", height), int("width", width)])
    // The addon gives no bytes out: four of them leave as a number, which costs nothing, or each as one.
    if ((height * width * 3) % 4 !== 0)
      return graph.add("Cast", [bytes], [type("SrcT", binding.TF_UINT8), type("DstT", binding.TF_INT32)])
    const shape = graph.addConstant({ type: binding.TF_INT32, shape: [2], bytes: fours })
    const rows = graph.add("Reshape", [bytes, shape], [type("T", binding.TF_UINT8), type("Tshape", binding.TF_INT32)])
    return graph.add("Bitcast", [rows], [type("T", binding.TF_UINT8), type("type", binding.TF_INT32)])
  }
  const method = { name: "dct_method", type: binding.TF_ATTR_STRING, value: "INTEGER_ACCURATE" }
  const files = Array.from({ length: filesAtOnce }, (): Lane => {
    const from = placeholder(binding.TF_STRING, [])
    return { from, to: resized(graph.add("DecodeJpeg", [from], [int("channels", 3), method])) }
  })
  const image = placeholder(binding.TF_UINT8, [-1, -1, 3])
  return { files, image: { from: image, to: resized(image) } }
}

/** Loads the graph into a session of tfjs's, which takes texts of bytes; the number stands for the session. */
const openSession = (tf: TensorFlow, graph: Graph): number => {
  const folder = mkdtempSync(join(tmpdir(), "mmt-graph-"))
  try {
    writeFileSync(join(folder, "saved_model.pb"), graph.toSavedModel())
    return backendOf(tf).binding.loadSavedModel(folder, savedModelTag)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** A decoder to images of this size, which is freed with the scope. */
export const imageDecoder = (
  tf: TensorFlow,
  height: number,
  width: number
): Effect.Effect<ImageDecoder, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { binding } = backendOf(tf)
    const graph = new Graph(backendOf(tf))
    const lanes = buildLanes(graph, tf, height, width)
    const session = yield* Effect.acquireRelease(
      Effect.sync(() => openSession(tf, graph)),
      (id) => Effect.sync(() => binding.deleteSavedModel(id))
    )
    const names = (nodes: ReadonlyArray<string>) => nodes.map((node) => `${node}:0`).join(",")
    const run = (used: ReadonlyArray<Lane>, ids: Array<number>) => {
      try {
        return binding.runSavedModel(session, ids, names(used.map(({ from }) => from)), names(used.map(({ to }) => to)))
      } finally {
        for (const id of ids) binding.deleteTensor(id)
      }
    }
    const write = (outputs: ReturnType<typeof run>, places: ReadonlyArray<Uint8Array>) => {
      for (const [index, { id }] of outputs.entries()) {
        const values = binding.tensorDataSync(id) as Int32Array<ArrayBuffer>
        const place = places[index]!
        place.set(
          values.length < place.length ? new Uint8Array(values.buffer, values.byteOffset, place.length) : values
        )
        binding.deleteTensor(id)
        // Freed at once: the collector would be called for every few of them.
        values.buffer.transfer(0)
      }
    }
    return {
      decode: (files, places) => {
        const ids = files.map((file) => binding.createTensor([], binding.TF_STRING, [file]))
        let outputs: ReturnType<typeof run>
        try {
          outputs = run(lanes.files.slice(0, files.length), ids)
        } catch {
          return false
        }
        write(outputs, places)
        return true
      },
      resize: (rgb, from, to, place) =>
        write(run([lanes.image], [binding.createTensor([from, to, 3], binding.TF_UINT8, rgb)]), [place])
    }
  })

/** Pixels and colour channels of a JPEG file of 8 bits a channel; undefined for any other file. */
export const jpegFrame = (file: Uint8Array): { readonly pixels: number; readonly channels: number } | undefined => {
  if (file[0] !== 0xff || file[1] !== 0xd8) return undefined
  for (let at = 2; at + 9 < file.length && file[at] === 0xff; ) {
    const marker = file[at + 1]!
    const uint16 = (offset: number) => file[at + offset]! * 256 + file[at + offset + 1]!
    if (marker === 0xff) at++
    else if (marker >= 0xc0 && marker <= 0xc2)
      return file[at + 4] === 8 ? { pixels: uint16(5) * uint16(7), channels: file[at + 9]! } : undefined
    else at += 2 + uint16(2)
  }
  return undefined
}
