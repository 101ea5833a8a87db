/** Nothing outside a data set's folder is read: what links may lead to. */
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { openDataset } from "#data/dataset.ts"
import { datasetFolder } from "./dataset-files.ts"

const { at, link, put } = datasetFolder()
const image = "0002_c1s1_000451_03.jpg"

let elsewhere: string
beforeAll(async () => {
  elsewhere = await mkdtemp(join(tmpdir(), "mmt-elsewhere-"))
  await writeFile(join(elsewhere, image), "")
})
afterAll(() => rm(elsewhere, { recursive: true }))

const others = [`query/${image}`, `bounding_box_test/${image}`]
const open = (root = at()) => Effect.runPromise(openDataset("market1501", root))
const failure = () => Effect.runPromise(Effect.flip(openDataset("market1501", at())))

describe("links", () => {
  it("within the data set are followed, and so is one to the data set itself", async () => {
    await put(...others, `images/${image}`)
    await link(`bounding_box_train/${image}`, join("../images", image))
    expect((await open()).splits.train).toHaveLength(1)
    await symlink(at(), join(elsewhere, "link"))
    expect((await open(join(elsewhere, "link"))).splits.train).toHaveLength(1)
  })

  it.each([
    ["an image", `bounding_box_train/${image}`, image],
    ["a folder of images", "bounding_box_train", ""]
  ])("out of it are refused: %s", async (_, path, target) => {
    await put(...others)
    await link(path, join(elsewhere, target))
    const error = await failure()
    expect(error._tag).toBe("PathOutside")
    expect(error.message).toBe(
      `${at(path)} leads to ${join(elsewhere, target)}, which is outside the data set's folder ${at()}\nnothing outside that folder is read: copy what is linked into it, or name a folder that holds both`
    )
  })

  it("to nowhere are named", async () => {
    await put(...others)
    await link(`bounding_box_train/${image}`, "gone.jpg")
    const error = await failure()
    expect(error).toMatchObject({ _tag: "DatasetUnreadable", path: at("bounding_box_train", image) })
  })

  it("that are no images are passed over", async () => {
    await put(...others, `bounding_box_train/${image}`)
    await link("bounding_box_train/readme.txt", join(elsewhere, "gone.txt"))
    expect((await open()).splits.train).toHaveLength(1)
  })
})
