/** Market-1501's layout: what is read, in which order, and what each broken folder is told. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { Effect } from "effect"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { openDataset, statistics } from "#data/dataset.ts"

let root: string

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "mmt-market-"))
})

afterEach(() => rm(root, { recursive: true, force: true }))

const put = async (...paths: ReadonlyArray<string>) => {
  for (const path of paths) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), "")
  }
}

/** The least that is a data set. */
const minimal = [
  "bounding_box_train/0002_c1s1_000451_03.jpg",
  "query/0001_c1s1_001051_00.jpg",
  "bounding_box_test/0001_c2s1_000301_01.jpg"
]

const open = () => Effect.runPromise(openDataset("market1501", root))
const failure = () => Effect.runPromise(Effect.flip(openDataset("market1501", root)))

describe("reading", () => {
  it("takes person and camera from the names, sorted by code units, paths with /", async () => {
    await put(
      ...minimal,
      "bounding_box_train/0010_c6s4_000001_02.jpg",
      "bounding_box_train/0002_c3s1_000451_03.jpg",
      "bounding_box_train/1501_c2s1_000001_01.jpg"
    )
    const { format, splits } = await open()
    expect(format).toBe("market1501")
    expect(splits.train).toEqual([
      { image: "bounding_box_train/0002_c1s1_000451_03.jpg", person: 2, camera: 1 },
      { image: "bounding_box_train/0002_c3s1_000451_03.jpg", person: 2, camera: 3 },
      { image: "bounding_box_train/0010_c6s4_000001_02.jpg", person: 10, camera: 6 },
      { image: "bounding_box_train/1501_c2s1_000001_01.jpg", person: 1501, camera: 2 }
    ])
    expect(splits.query).toEqual([{ image: "query/0001_c1s1_001051_00.jpg", person: 1, camera: 1 }])
  })

  it("lists junk and distractors in the gallery, junk before digits", async () => {
    await put(...minimal, "bounding_box_test/-1_c3s1_000401_03.jpg", "bounding_box_test/0000_c1s1_000151_01.jpg")
    const { splits } = await open()
    expect(splits.gallery.map((entry) => entry.person)).toEqual([-1, 0, 1])
  })

  it("leaves junk out of training and counts it", async () => {
    await put(...minimal, "bounding_box_train/-1_c5s1_000401_03.jpg", "bounding_box_train/-1_c5s1_000402_03.jpg")
    const dataset = await open()
    expect(dataset.splits.train.map((entry) => entry.person)).toEqual([2])
    expect(dataset.junkLeftOut).toBe(2)
  })

  it("takes any image ending in any case and passes over what is no image", async () => {
    await put(
      ...minimal,
      "query/0003_c1s1_000001_00.JPG",
      "query/0004_c1s1_000001_00.JpEg",
      "query/0005_c1s1_000001_00.PNG",
      "query/0006_c1s1_000001_00.bmp",
      "query/Thumbs.db",
      "query/.DS_Store",
      "query/._0003_c1s1_000001_00.JPG",
      "query/readme.txt",
      "query/0007_c1s1_000001_00.jpg/inside.txt"
    )
    const { splits } = await open()
    expect(splits.query.map((entry) => entry.person)).toEqual([1, 3, 4, 5, 6])
  })

  it("reads names of sets that were put into this layout", async () => {
    await put(...minimal, "query/12345_c012_000.png")
    const { splits } = await open()
    expect(splits.query[1]).toEqual({ image: "query/12345_c012_000.png", person: 12345, camera: 12 })
  })
})

it("statistics count images, people, cameras, junk and distractors", async () => {
  await put(
    ...minimal,
    "bounding_box_train/-1_c5s1_000401_03.jpg",
    "bounding_box_train/0002_c2s1_000451_03.jpg",
    "bounding_box_test/-1_c3s1_000401_03.jpg",
    "bounding_box_test/0000_c4s1_000151_01.jpg",
    "bounding_box_test/0000_c4s1_000152_01.jpg"
  )
  expect(statistics(await open())).toEqual([
    { split: "train", images: 3, identities: 1, cameras: 2, junk: 1, distractors: 0 },
    { split: "query", images: 1, identities: 1, cameras: 1, junk: 0, distractors: 0 },
    { split: "gallery", images: 4, identities: 1, cameras: 3, junk: 1, distractors: 2 }
  ])
})

describe("what is wrong is told", () => {
  it("a missing folder", async () => {
    await put(...minimal.slice(0, 1))
    const error = await failure()
    expect(error._tag).toBe("DatasetNotFound")
    expect(error.message).toBe(
      `no folder ${join(root, "query")}: a market1501 data set keeps the query images there\nname the folder that directly holds the data set's own folders, or another format`
    )
  })

  it("a file where a folder should be", async () => {
    await put("bounding_box_train")
    expect((await failure())._tag).toBe("DatasetNotFound")
  })

  it("an empty folder", async () => {
    await put("bounding_box_train/Thumbs.db")
    const error = await failure()
    expect(error._tag).toBe("DatasetEmpty")
    expect(error.message).toContain(`${join(root, "bounding_box_train")} holds no images`)
  })

  it("training images that are all junk", async () => {
    await put(...minimal.slice(1), "bounding_box_train/-1_c5s1_000401_03.jpg")
    const error = await failure()
    expect(error._tag).toBe("DatasetEmpty")
    expect(error.message).toContain("not junk (-1) alone")
  })

  it.each(["person.jpg", "0001.jpg", "-2_c1s1_000001_00.jpg", "0001_c.jpg", "0001_1s1.jpg", "x0001_c1s1.jpg"])(
    "a name that tells no person or camera: %s",
    async (name) => {
      await put(...minimal, `query/${name}`)
      const error = await failure()
      expect(error._tag).toBe("ImageNameInvalid")
      expect(error.message).toBe(
        `${join(root, "query", name)}: the name does not tell person and camera; market1501 names look like PERSON_cCAMERA…, as 0002_c1s1_000451_03.jpg or -1_c1s1_000401_03.jpg (junk)\nrename the image, or move it out of the folder`
      )
    }
  )
})
