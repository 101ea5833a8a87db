/**
 * Market-1501: names `0002_c1s1_000451_03.jpg`.
 * Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015.
 */
import { readBoundingBoxes } from "#data/bounding-boxes.ts"
import type { DatasetFormat } from "#data/dataset.ts"

/**
 * The reader; see `readBoundingBoxes` for junk and distractors. Person and camera are all that a name must tell: sequence,
 * frame and box follow in the original and are not needed, so that other sets can be put into this layout.
 */
export const market1501: DatasetFormat = {
  title: "Market-1501",
  labelled: true,
  read: readBoundingBoxes({
    format: "market1501",
    name: /^(-1|\d{1,9})_c(\d{1,9})(?=\D)/,
    pattern: "PERSON_cCAMERA…, as 0002_c1s1_000451_03.jpg or -1_c1s1_000401_03.jpg (junk)"
  }),
  // 19,732 images in the gallery's folder, 15,913 of them not junk.
  published: {
    train: { images: 12_936, identities: 751, junk: 0 },
    query: { images: 3_368, identities: 750, junk: 0 },
    gallery: { images: 19_732, identities: 750, junk: 3_819 }
  }
}
