/** Writes images/, a data set in Market-1501's layout, for both sides: node decode-inputs.ts FOLDER [HEIGHT WIDTH] */
import { writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import sharp from "sharp"
import { makeFolder } from "#data/make-folder.ts"
import { random } from "#data/random.ts"

/** Training images, which are what is decoded: of Market-1501's size and quality where nothing else is asked for. */
const images = 2_048
const quality = 90
const [folder, height, width] = [process.argv[2]!, Number(process.argv[3] ?? 128), Number(process.argv[4] ?? 64)]

/** Some rectangles over a gradient, with a sensor's noise: a JPEG of about as many bytes as a photograph's. */
const drawn = (index: number): Uint8Array => {
  const draw = random(1, "image", index)
  const colour = () => [draw.uniform(20, 235), draw.uniform(20, 235), draw.uniform(20, 235)]
  const [top, bottom] = [colour(), colour()]
  const boxes = Array.from({ length: 8 }, () => {
    const [y, x] = [draw.int(height), draw.int(width)]
    return { y, x, toY: y + draw.int(height / 2) + 1, toX: x + draw.int(width / 2) + 1, rgb: colour() }
  })
  const pixels = new Uint8Array(height * width * 3)
  for (let at = 0; at < pixels.length; at++) {
    const [y, x, channel] = [Math.floor(at / 3 / width), Math.floor(at / 3) % width, at % 3]
    const box = boxes.findLast((b) => y >= b.y && y < b.toY && x >= b.x && x < b.toX)
    const plain = box?.rgb[channel] ?? top[channel]! + ((bottom[channel]! - top[channel]!) * y) / height
    pixels[at] = Math.max(0, Math.min(255, plain + 4 * draw.normal()))
  }
  return pixels
}

const write = async (path: string, index: number) => {
  const file = join(folder, "images", path)
  await makeFolder(dirname(file))
  await writeFile(
    file,
    await sharp(drawn(index), { raw: { height, width, channels: 3 } })
      .jpeg({ quality })
      .toBuffer()
  )
}

for (let index = 0; index < images; index++) {
  const person = String(1 + Math.floor(index / 16)).padStart(4, "0")
  await write(`bounding_box_train/${person}_c${1 + (index % 6)}s1_${String(index).padStart(6, "0")}_01.jpg`, index)
}
await write("query/0001_c1s1_000000_00.jpg", images)
await write("bounding_box_test/0001_c2s1_000000_01.jpg", images + 1)
