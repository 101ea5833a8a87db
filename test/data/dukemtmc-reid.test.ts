/** DukeMTMC-reID's names, and what it shares with Market-1501: junk, distractors, files that are no images. */
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { openDataset, statistics } from "#data/dataset.ts"
import { datasetFolder } from "./dataset-files.ts"

const { at, put } = datasetFolder()

const minimal = [
  "bounding_box_train/0001_c2_f0046182.jpg",
  "query/0005_c2_f0046985.jpg",
  "bounding_box_test/0005_c1_f0051391.jpg"
]

const open = () => Effect.runPromise(openDataset("dukemtmc-reid", at()))
const failure = () => Effect.runPromise(Effect.flip(openDataset("dukemtmc-reid", at())))

describe("dukemtmc-reid", () => {
  it("takes person and camera from the names, in any case of the ending, and passes over what is no image", async () => {
    await put(
      ...minimal,
      "bounding_box_train/0702_c8_f0175000.JPG",
      "bounding_box_train/-1_c3_f0000001.jpg",
      "bounding_box_train/Thumbs.db",
      "bounding_box_test/0000_c1_f0000001.jpg",
      "bounding_box_test/._0005_c1_f0051391.jpg"
    )
    const dataset = await open()
    expect(dataset.splits.train).toEqual([
      { image: "bounding_box_train/0001_c2_f0046182.jpg", person: 1, camera: 2 },
      { image: "bounding_box_train/0702_c8_f0175000.JPG", person: 702, camera: 8 }
    ])
    expect(dataset.junkLeftOut).toBe(1)
    expect(statistics(dataset)[2]).toEqual({
      split: "gallery",
      images: 2,
      identities: 1,
      cameras: 1,
      junk: 0,
      distractors: 1
    })
  })

  it.each(["0002_c1s1_000451_03.jpg", "0001_c2.jpg", "0001_f0046182.jpg"])(
    "refuses another set's name: %s",
    async (name) => {
      await put(...minimal, `query/${name}`)
      const error = await failure()
      expect(error._tag).toBe("ImageNameInvalid")
      expect(error.message).toBe(
        `${at("query", name)}: the name does not tell person and camera; dukemtmc-reid names look like PERSON_cCAMERA_fFRAME, as 0001_c2_f0046182.jpg\nrename the image, or move it out of the folder`
      )
    }
  )

  it("names a folder that is missing", async () => {
    await put(...minimal.slice(0, 2))
    const error = await failure()
    expect(error).toMatchObject({ _tag: "DatasetNotFound", format: "dukemtmc-reid", folder: at("bounding_box_test") })
  })
})
