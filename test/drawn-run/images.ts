/** Images that nobody took: names, identities and cameras by the split, and small pixels and embeddings of each. */
import { random } from "#data/random.ts"

export interface DrawnImage {
  readonly image: string
  /** −1 is a detection of nobody. */
  readonly person: number
  readonly camera: number
}

export interface DrawnSizes {
  /** Images of the source's training set. */
  readonly source: number
  /** Images of the target's training set, its queries and its gallery. */
  readonly train: number
  readonly query: number
  readonly gallery: number
  /** Identities of each set. */
  readonly identities: number
  readonly cameras: number
  /** Values of an embedding. */
  readonly dimension: number
  /** Names that the first images of the target have. */
  readonly names?: ReadonlyArray<string>
}

const hidden = 0.02

/** The images of a split, such as `target-train`. Queries show people of the gallery, where one of 50 is of nobody. */
export const imagesOfSplit = (split: string, sizes: DrawnSizes): ReadonlyArray<DrawnImage> => {
  const [domain, part] = split.split("-") as [string, "train" | "query" | "gallery"]
  const draw = random(7, "images", split)
  const count = domain === "source" ? sizes.source : sizes[part]
  return Array.from({ length: count }, (_, i) => {
    const person = part === "gallery" && draw.chance(hidden) ? -1 : 1 + (i % sizes.identities)
    const camera = 1 + draw.int(sizes.cameras)
    const name = `${String(person).padStart(4, "0")}_c${camera}s1_${String(i).padStart(6, "0")}_00.jpg`
    return { image: `${part}/${(domain === "target" ? sizes.names?.[i] : undefined) ?? name}`, person, camera }
  })
}

/** Pixels [height, width, 3]: shades of the person and the camera, a gradient, and noise that makes them as hard to compress as photographs. */
export const pixelsOf = ({ image, person, camera }: DrawnImage, height: number, width: number): Uint8Array => {
  const pixels = new Uint8Array(height * width * 3)
  const draw = random(7, "pixels", image)
  for (let at = 0; at < pixels.length; at += 3) {
    const noise = draw.uint32()
    const row = Math.floor(at / 3 / width)
    pixels[at] = ((person * 67) % 192) + (noise & 63)
    pixels[at + 1] = ((person * 29 + camera * 40) % 192) + ((noise >>> 8) & 63)
    pixels[at + 2] = (191 * row) / height + ((noise >>> 16) & 63)
  }
  return pixels
}

const normalised = (vector: Float32Array): Float32Array => {
  const norm = Math.hypot(...vector)
  return vector.map((value) => value / norm)
}

const direction = (dimension: number, ...key: ReadonlyArray<string | number>): Float32Array => {
  const draw = random(7, "direction", ...key)
  return normalised(Float32Array.from({ length: dimension }, () => draw.uniform(-1, 1)))
}

/** Embeddings [images, dimension] of norm 1: where the person is, shifted by the camera and by `noise` at random. */
export const embeddingsOfImages = (
  images: ReadonlyArray<DrawnImage>,
  dimension: number,
  noise: number,
  ...key: ReadonlyArray<string | number>
): Float32Array => {
  const people = new Map<number, Float32Array>()
  const cameras = new Map<number, Float32Array>()
  const draw = random(7, "embeddings", ...key)
  const values = new Float32Array(images.length * dimension)
  for (const [row, { camera, person }] of images.entries()) {
    if (!people.has(person)) people.set(person, direction(dimension, "person", person))
    if (!cameras.has(camera)) cameras.set(camera, direction(dimension, "camera", camera))
    const [of, by] = [people.get(person)!, cameras.get(camera)!]
    const spread = (noise * Math.sqrt(3)) / Math.sqrt(dimension)
    const own = of.map((value, i) => value + 0.5 * by[i]! + spread * draw.uniform(-1, 1))
    values.set(normalised(own), row * dimension)
  }
  return values
}
