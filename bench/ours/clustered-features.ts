/** Features as a network gives them of the people of a camera network, drawn from a seed. */
import { random } from "#data/random.ts"

/** Features after ReLU and pooling are not negative; those of an identity are alike but for noise, so many times as strong as what they share; all of length 1. */
export const clusteredFeatures = (rows: number, dimension: number, identities: number, noise: number): Float32Array => {
  const values = new Float32Array(rows * dimension)
  const centres = Array.from({ length: identities }, (_, identity) => {
    const draw = random(1, "identity", identity)
    return Float32Array.from({ length: dimension }, () => draw.normal())
  })
  for (let row = 0; row < rows; row++) {
    const centre = centres[random(1, "identity of", row).int(identities)]!
    const draw = random(1, "noise", row)
    const own = values.subarray(row * dimension, (row + 1) * dimension)
    for (let d = 0; d < dimension; d++) own[d] = Math.max(0, centre[d]! + noise * draw.normal())
    const norm = Math.hypot(...own)
    for (let d = 0; d < dimension; d++) own[d]! /= norm
  }
  return values
}
