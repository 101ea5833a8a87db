/** Which images the synthetic pair consists of: sizes, and for each image its place in Market-1501's layout. */
import { Schema } from "effect"
import { BOUNDING_BOX_FOLDERS } from "#data/bounding-boxes.ts"
import type { Domain } from "#data/synthetic/identity.ts"

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))

const DomainSizes = Schema.Struct({
  cameras: Count,
  trainIdentities: Count,
  /** Images of each identity by each camera. */
  trainImages: Count,
  testIdentities: Count,
  /** The first of each identity and camera is a query, the rest are gallery: two at least. */
  testImages: Schema.Int.check(Schema.isGreaterThanOrEqualTo(2))
})

/** How much of each domain is made. */
export const SyntheticSizes = Schema.Struct({ source: DomainSizes, target: DomainSizes })
export type SyntheticSizes = typeof SyntheticSizes.Type

/** The sizes of the demonstration: 4,200 images of the source and 2,640 of the target. */
export const SYNTHETIC_SIZES: SyntheticSizes = {
  source: { cameras: 6, trainIdentities: 200, trainImages: 3, testIdentities: 50, testImages: 2 },
  target: { cameras: 6, trainIdentities: 120, trainImages: 2, testIdentities: 100, testImages: 2 }
}

/** One image to be made. */
export interface PlannedImage {
  /** Relative to the pair's folder, with `/`. */
  readonly path: string
  readonly domain: Domain
  readonly person: number
  /** From 1. */
  readonly camera: number
  /** Which of this person's images by this camera, from 0. */
  readonly index: number
}

export const DOMAINS: ReadonlyArray<Domain> = ["source", "target"]

/** All images of a pair. Persons count from 1 in each domain, those of the test after those of the training. */
export const planImages = (sizes: SyntheticSizes): ReadonlyArray<PlannedImage> =>
  DOMAINS.flatMap((domain) => {
    const { cameras, testIdentities, testImages, trainIdentities, trainImages } = sizes[domain]
    const images: Array<PlannedImage> = []
    for (let person = 1; person <= trainIdentities + testIdentities; person++) {
      const test = person > trainIdentities
      for (let camera = 1; camera <= cameras; camera++)
        for (let index = 0; index < (test ? testImages : trainImages); index++) {
          const split = !test ? "train" : index === 0 ? "query" : "gallery"
          const frame = String(index + 1).padStart(6, "0")
          const name = `${String(person).padStart(4, "0")}_c${camera}s1_${frame}_${split === "query" ? "00" : "01"}.jpg`
          images.push({ path: `${domain}/${BOUNDING_BOX_FOLDERS[split]}/${name}`, domain, person, camera, index })
        }
    }
    return images
  })
