/** The format that a folder's layout speaks for. */
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { guessFormat } from "#data/format-guess.ts"
import { datasetFolder } from "./dataset-files.ts"

const { at, put } = datasetFolder()
const guess = (dir = at()) => Effect.runPromise(guessFormat(dir))
const failure = (dir = at()) => Effect.runPromise(Effect.flip(guessFormat(dir)))

describe("guessFormat", () => {
  it.each([
    ["market1501", ["bounding_box_train/0002_c1s1_000451_03.jpg", "query/0001_c1s1_001051_00.jpg"]],
    ["market1501", ["bounding_box_test/0001_c1s1_001051_00.jpg", "bounding_box_train/Thumbs.db"]],
    ["dukemtmc-reid", ["bounding_box_train/0001_c2_f0046182.jpg", "bounding_box_train/Thumbs.db"]],
    ["market1501", ["bounding_box_train/0001_c2_f0046182.jpg", "bounding_box_train/0002_c1s1_000451_03.jpg"]],
    ["msmt17", ["list_query.txt", "test/0000/x.jpg"]],
    ["msmt17", ["MSMT17_V2/mask_train_v2/0000/x.jpg"]],
    ["folder", ["door/a.jpg"]],
    ["folder", []]
  ] as const)("says %s of %j", async (format, paths) => {
    await put(...paths)
    expect(await guess()).toBe(format)
  })

  it("does not take a folder that holds a data set for a folder of images", async () => {
    await put("Market/bounding_box_train/0002_c1s1_000451_03.jpg")
    const error = await failure()
    expect(error._tag).toBe("FormatUnclear")
    expect(error.message).toBe(
      `${at("Market")} looks like a market1501 data set: name that folder, or the format of ${at()} by --format`
    )
  })

  it("names a folder that is not there", async () => {
    expect(await failure(at("nowhere"))).toMatchObject({ _tag: "DatasetNotFound", folder: at("nowhere") })
  })
})
