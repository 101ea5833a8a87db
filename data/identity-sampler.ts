/**
 * The identity-balanced sampler (P identities × K images), as the reference's RandomMultipleGallerySampler: it prefers
 * images from other cameras than the first pick of an identity.
 */
import { random } from "#data/random.ts"

export interface SamplerInput {
  /** Class of each image; −1 takes no part. */
  readonly labels: ArrayLike<number>
  readonly cameras: ArrayLike<number>
  /** K: images of an identity in a row. */
  readonly instances: number
  readonly batchSize: number
  readonly seed: number
  readonly epoch: number
}

/**
 * One pass: every identity once, in random order, with K of its images. First one image of the identity; then K − 1 of
 * its images from other cameras (without repetition only where there are at least K of them), or else of its others by
 * the same rule. An identity of a single image adds only that one.
 */
export const samplerPass = (input: SamplerInput, pass: number): Array<number> => {
  const { labels, cameras, instances, seed, epoch } = input
  const byLabel = new Map<number, Array<number>>()
  for (let row = 0; row < labels.length; row++) {
    const label = labels[row]!
    if (label < 0) continue
    const rows = byLabel.get(label)
    if (rows) rows.push(row)
    else byLabel.set(label, [row])
  }
  const order = random(seed, "sampler", epoch, pass).shuffle([...byLabel.keys()].sort((a, b) => a - b))
  return order.flatMap((label) => {
    const draw = random(seed, "sampler", epoch, pass, label)
    const rows = byLabel.get(label)!
    const first = rows[draw.int(rows.length)]!
    const elsewhere = rows.filter((row) => cameras[row] !== cameras[first])
    const candidates = elsewhere.length > 0 ? elsewhere : rows.filter((row) => row !== first)
    if (candidates.length === 0) return [first]
    const rest =
      candidates.length >= instances
        ? draw.shuffle(candidates).slice(0, instances - 1)
        : Array.from({ length: instances - 1 }, () => candidates[draw.int(candidates.length)]!)
    return [first, ...rest]
  })
}

/**
 * Rows of the batches of an epoch, endlessly: each pass is cut into batches and its incomplete last one dropped. Ends
 * at once where a whole pass does not fill a batch.
 */
export function* sampleBatches(input: SamplerInput): Generator<ReadonlyArray<number>> {
  for (let pass = 0; ; pass++) {
    const rows = samplerPass(input, pass)
    if (rows.length < input.batchSize) return
    for (let start = 0; start + input.batchSize <= rows.length; start += input.batchSize)
      yield rows.slice(start, start + input.batchSize)
  }
}
