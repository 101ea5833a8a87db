import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, extname, join } from "node:path"
import { Effect, Schema } from "effect"
import sharp from "sharp"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { metadataOf, viewOf } from "#schemas/artifact.ts"
import { images } from "#schemas/images.ts"
import { DecodeParams, decodeStage } from "#stages/decode.ts"
import { drain, run } from "./run-stage.ts"

let root: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "decode-"))
  for (const path of ["query/0001_c1s1_000001_00.jpg", "bounding_box_test/0001_c2s1_000001_00.jpg"])
    await put(path, await colour(10, 20, 30).jpeg().toBuffer())
})
afterAll(() => rm(root, { recursive: true }))

const put = async (path: string, bytes: Uint8Array) => {
  await mkdir(dirname(join(root, path)), { recursive: true })
  await writeFile(join(root, path), bytes)
}

const colour = (r: number, g: number, b: number, width = 8, height = 16) =>
  sharp({ create: { width, height, channels: 3, background: { r, g, b } } })

const decode = (params: Partial<typeof DecodeParams.Encoded> = {}) =>
  Effect.gen(function* () {
    const decoded = yield* Schema.decodeUnknownEffect(DecodeParams)({
      root,
      split: "train",
      height: 4,
      width: 2,
      ...params
    })
    return (yield* drain(yield* decodeStage.run({}, decoded))).images
  })

const halfOf = (file: Buffer) => file.subarray(0, file.length / 2)

/** A JPEG file whose Huffman tables are no tables. */
const brokenTables = (file: Buffer) => {
  const broken = Buffer.from(file)
  broken.fill(0xff, broken.indexOf(Buffer.of(0xff, 0xc4)) + 5, broken.indexOf(Buffer.of(0xff, 0xc4)) + 21)
  return broken
}

/** A JPEG file that claims another size. */
const ofSize = (height: number, width: number, file: Buffer) => {
  const claiming = Buffer.from(file)
  const frame = claiming.indexOf(Buffer.of(0xff, 0xc0))
  claiming.writeUInt16BE(height, frame + 5)
  claiming.writeUInt16BE(width, frame + 7)
  return claiming
}

const folder = "bounding_box_train"

describe("decode", () => {
  it("gives RGB of one size for any kind of image file, sorted by name", async () => {
    await rm(join(root, folder), { recursive: true, force: true })
    const grey = sharp(Buffer.alloc(8 * 16, 90), { raw: { width: 8, height: 16, channels: 1 } })
    const transparent = sharp({
      create: { width: 8, height: 16, channels: 4, background: { r: 200, g: 100, b: 50, alpha: 0.5 } }
    })
    await put(`${folder}/0002_c3s1_000001_00.jpg`, await colour(200, 100, 50).jpeg({ quality: 100 }).toBuffer())
    await put(`${folder}/0003_c1s1_000001_00.jpg`, await grey.toColourspace("b-w").jpeg({ quality: 100 }).toBuffer())
    await put(`${folder}/0004_c1s1_000001_00.png`, await transparent.png().toBuffer())
    await put(`${folder}/0005_c2s1_000001_00.png`, await colour(200, 100, 50).png({ palette: true }).toBuffer())
    await put(`${folder}/0006_c2s1_000001_00.jpg`, await colour(0, 0, 0).toColourspace("cmyk").jpeg().toBuffer())
    const [batch, ...more] = await run(decode())
    expect(more).toEqual([])
    const { image, person, camera, pixels } = viewOf(images, batch!)
    expect(metadataOf(images, batch!, "")).toMatchObject({
      success: { height: 4, width: 2, dataset: "market1501", split: "train" }
    })
    expect(image.map((name) => name.slice(folder.length + 1, folder.length + 8))).toEqual([
      "0002_c3",
      "0003_c1",
      "0004_c1",
      "0005_c2",
      "0006_c2"
    ])
    expect([[...person], [...camera]]).toEqual([
      [2, 3, 4, 5, 6],
      [3, 1, 1, 2, 2]
    ])
    const expected = [
      [200, 100, 50],
      [90, 90, 90],
      [200, 100, 50],
      [200, 100, 50]
    ]
    for (const [row, rgb] of expected.entries())
      for (let at = 0; at < 24; at++)
        expect(Math.abs(pixels[row * 24 + at]! - rgb[at % 3]!), `image ${row}`).toBeLessThanOrEqual(3)
    for (let at = 4 * 24; at < 5 * 24; at++) expect(pixels[at]).toBeLessThan(60)
  })

  it("keeps top and bottom, left and right", async () => {
    await rm(join(root, folder), { recursive: true, force: true })
    const quarters = Buffer.alloc(8 * 16 * 3)
    for (let y = 0; y < 16; y++)
      for (let x = 0; x < 8; x++) quarters.set([y < 8 ? 255 : 0, x < 4 ? 255 : 0, 0], (y * 8 + x) * 3)
    const file = await sharp(quarters, { raw: { width: 8, height: 16, channels: 3 } })
      .png()
      .toBuffer()
    await put(`${folder}/0002_c1s1_000001_00.png`, file)
    const [batch] = await run(decode({ height: 8, width: 4 }))
    const { pixels } = viewOf(images, batch!)
    const at = (y: number, x: number) => [...pixels.subarray((y * 4 + x) * 3, (y * 4 + x) * 3 + 3)]
    expect([at(0, 0), at(0, 3), at(7, 0), at(7, 3)]).toEqual([
      [255, 255, 0],
      [255, 0, 0],
      [0, 255, 0],
      [0, 0, 0]
    ])
  })

  it("decodes an image to the same pixels among any others as alone", async () => {
    const noisy = (channels: 1 | 3) =>
      sharp(
        Uint8Array.from({ length: 40 * 20 * channels }, (_, at) => (at * at) % 251),
        { raw: { height: 40, width: 20, channels } }
      )
    const plain = await noisy(3).jpeg().toBuffer()
    const files: Readonly<Record<string, Buffer>> = {
      "plain.jpg": plain,
      "progressive.jpg": await noisy(3).jpeg({ progressive: true }).toBuffer(),
      "grey.jpg": await noisy(1).toColourspace("b-w").jpeg().toBuffer(),
      "turned.jpg": await noisy(3).withMetadata({ orientation: 6 }).jpeg().toBuffer(),
      "trailing.jpg": Buffer.concat([plain, Buffer.alloc(9)]),
      "cmyk.jpg": await noisy(3).toColourspace("cmyk").jpeg().toBuffer(),
      "grey.png": await noisy(1).toColourspace("b-w").png().toBuffer(),
      "deep.png": await noisy(3).toColourspace("rgb16").png().toBuffer(),
      "named.jpg": await noisy(3).png().toBuffer()
    }
    const decodeAll = async (names: ReadonlyArray<string>) => {
      await rm(join(root, folder), { recursive: true, force: true })
      for (const [index, name] of names.entries())
        await put(`${folder}/${String(index + 1).padStart(4, "0")}_c1s1_000001_00${extname(name)}`, files[name]!)
      const [batch] = await run(decode({ height: 9, width: 5 }))
      const { pixels } = viewOf(images, batch!)
      return names.map((_, row) => [...pixels.subarray(row * 135, (row + 1) * 135)])
    }
    const names = Object.keys(files)
    const together = await decodeAll([...names, ...names, ...names, ...names])
    for (const [index, name] of names.entries()) {
      const [alone] = await decodeAll([name])
      for (let row = index; row < together.length; row += names.length) expect(together[row], name).toEqual(alone)
    }
    const [asIs, progressive, grey, turned, trailing] = together
    expect(progressive).toEqual(asIs)
    expect(turned).toEqual(asIs)
    expect(trailing).toEqual(asIs)
    expect(grey!.every((value, at) => value === grey![at - (at % 3)])).toBe(true)
  })

  it("cuts more images than a batch holds into several, in order", async () => {
    await rm(join(root, folder), { recursive: true, force: true })
    const file = await colour(1, 2, 3, 2, 4).png().toBuffer()
    const names = Array.from(
      { length: 300 },
      (_, i) => `${folder}/${String(i + 1).padStart(4, "0")}_c1s1_000001_00.png`
    )
    for (const name of names) await put(name, file)
    const out = await run(decode())
    expect(out.length).toBe(2)
    expect(out.flatMap((batch) => viewOf(images, batch).image)).toEqual(names)
  })

  it("takes a folder without labels whole as training images, with its cameras", async () => {
    await rm(join(root, "mine"), { recursive: true, force: true })
    const file = await colour(1, 2, 3).jpeg().toBuffer()
    for (const name of ["x_cam4.jpg", "y/z_cam2.jpg"]) await put(`mine/${name}`, file)
    const mine = { root: join(root, "mine"), format: "folder", cameraPattern: "cam(?<camera>[0-9])" } as const
    const [batch] = await run(decode(mine))
    const { image, person, camera } = viewOf(images, batch!)
    expect([image, [...person], [...camera]]).toEqual([
      ["x_cam4.jpg", "y/z_cam2.jpg"],
      [-1, -1],
      [4, 2]
    ])
    const error = await run(Effect.flip(decode({ ...mine, split: "query" })))
    expect(error.message).toBe(
      `${mine.root}: a data set of format folder has no split query; its images are all in train`
    )
  })

  it.each([
    ["truncated", async () => (await readFile(join(root, "query/0001_c1s1_000001_00.jpg"))).subarray(0, -40)],
    ["without its last bytes", async () => (await colour(9, 9, 9, 64, 64).jpeg().toBuffer()).subarray(0, -3)],
    ["half there", async () => halfOf(await colour(9, 9, 9, 64, 64).jpeg().toBuffer())],
    ["without decoding tables", async () => brokenTables(await colour(9, 9, 9, 64, 64).jpeg().toBuffer())],
    [
      "too large",
      async () => ofSize(8193, 8192, await colour(9, 9, 9).jpeg().toBuffer()),
      "Input image exceeds pixel limit"
    ],
    ["empty", async () => Buffer.alloc(0)],
    ["no image", async () => Buffer.from("<html>not found</html>")]
  ])("names a file that is %s", async (_, content, problem = ".+") => {
    await rm(join(root, folder), { recursive: true, force: true })
    await put(`${folder}/0002_c1s1_000001_00.jpg`, await colour(1, 2, 3).jpeg().toBuffer())
    await put(`${folder}/0003_c1s1_000001_00.jpg`, await content())
    const error = await run(Effect.flip(decode()))
    expect(error._tag).toBe("ImageUndecodable")
    expect(error.message).toMatch(
      new RegExp(
        `^${join(root, folder)}/0003_c1s1_000001_00.jpg: does not decode: ${problem}\\. Replace the file or take it out`
      )
    )
    expect(error.message).not.toContain("\n")
  })
})
