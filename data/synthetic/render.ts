/** Makes the JPEGs of planned images: scenes drawn by librsvg through sharp, exposed, compressed. */
import sharp from "sharp"
import { random } from "#data/random.ts"
import { camera, shoot } from "#data/synthetic/camera.ts"
import { expose, IMAGE } from "#data/synthetic/exposure.ts"
import { CANVAS } from "#data/synthetic/figure.ts"
import { identity } from "#data/synthetic/identity.ts"
import type { PlannedImage, SyntheticSizes } from "#data/synthetic/plan.ts"

/**
 * The JPEGs of these images, in their order: 64 × 32 pixels each. An image depends on the seed, the number of its domain's
 * cameras and its own place in the plan, not on the images beside it: they share one canvas for speed alone.
 */
export const renderImages = async (
  seed: number,
  sizes: SyntheticSizes,
  images: ReadonlyArray<PlannedImage>
): Promise<ReadonlyArray<Buffer>> => {
  const shots = images.map((image) => {
    const { domain, index, person } = image
    const by = camera(seed, domain, image.camera, sizes[domain].cameras)
    return shoot(identity(seed, domain, person), domain, by, random(seed, domain, "image", person, image.camera, index))
  })
  // Inner drawings are cut at their own border. Hard edges: the averaging of 4 × 4 pixels smooths them.
  const scenes = shots.map(
    ({ svg }, i) => `<svg y="${i * CANVAS.height}" width="${CANVAS.width}" height="${CANVAS.height}">${svg}</svg>`
  )
  const height = CANVAS.height * shots.length
  const sheet = `<svg xmlns="http://www.w3.org/2000/svg" width="${CANVAS.width}" height="${height}" shape-rendering="crispEdges">${scenes.join("")}</svg>`
  const pixels = await sharp(Buffer.from(sheet)).ensureAlpha().raw().toBuffer()
  return Promise.all(
    shots.map((shot, i) =>
      sharp(expose(pixels, i, shot), { raw: { ...IMAGE, channels: 3 } })
        .jpeg({ quality: shot.quality })
        .toBuffer()
    )
  )
}
