/** MSMT17's lists and folders: what is read of both versions, and what each broken line is told. */
import { join } from "node:path"
import { Effect } from "effect"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { openDataset, statistics } from "#data/dataset.ts"
import { datasetFolder } from "./dataset-files.ts"

const { at, link, put, write } = datasetFolder()

const name = (person: number, camera: number, n = 0) => {
  const id = String(person).padStart(4, "0")
  return `${id}/${id}_00${n}_${String(camera).padStart(2, "0")}_0303morning_0008_${n}.jpg`
}

/** The least that is a data set of a version: its lists, and images for all lines. */
const lists = {
  "list_train.txt": [`${name(1, 2)} 1`, `${name(0, 1)} 0`],
  "list_val.txt": [`${name(0, 15, 1)} 0`],
  "list_query.txt": [`${name(0, 3)} 0`],
  "list_gallery.txt": [`${name(0, 4)} 0`, `${name(2, 4)} 2`]
}

const make = async (
  base = "",
  { train, test } = { train: "train", test: "test" },
  changed: Partial<Record<keyof typeof lists, ReadonlyArray<string>>> = {},
  end = "\n"
) => {
  for (const [list, lines] of Object.entries({ ...lists, ...changed })) {
    await write(join(base, list), lines.map((line) => line + end).join(""))
    const original = lists[list as keyof typeof lists]
    const folder = /train|val/.test(list) ? train : test
    await put(...original.map((line) => join(base, folder, line.split(" ")[0]!)))
  }
}

const open = (root = at()) => Effect.runPromise(openDataset("msmt17", root))
const failure = () => Effect.runPromise(Effect.flip(openDataset("msmt17", at())))

const train = [
  { image: `train/${name(0, 1)}`, person: 1, camera: 1 },
  { image: `train/${name(0, 15, 1)}`, person: 1, camera: 15 },
  { image: `train/${name(1, 2)}`, person: 2, camera: 2 }
]

describe("reading", () => {
  it("joins list_train and list_val, sorted, cameras from the names, persons from 1 on", async () => {
    await make()
    const { splits } = await open()
    expect(splits.train).toEqual(train)
    expect(splits.query).toEqual([{ image: `test/${name(0, 3)}`, person: 1, camera: 3 }])
    expect(splits.gallery.map(({ person }) => person)).toEqual([1, 3])
  })

  it("counts no one as a distractor", async () => {
    await make()
    expect(statistics(await open())).toEqual([
      { split: "train", images: 3, identities: 2, cameras: 3, junk: 0, distractors: 0 },
      { split: "query", images: 1, identities: 1, cameras: 1, junk: 0, distractors: 0 },
      { split: "gallery", images: 2, identities: 2, cameras: 1, junk: 0, distractors: 0 }
    ])
  })

  it.each([
    ["MSMT17_V1", { train: "train", test: "test" }],
    ["MSMT17_V2", { train: "mask_train_v2", test: "mask_test_v2" }]
  ])("takes the folder of %s and the one that holds it", async (base, folders) => {
    await make(base, folders)
    const images = train.map(({ image }) => image.replace("train/", `${folders.train}/`))
    expect((await open(at(base))).splits.train.map(({ image }) => image)).toEqual(images)
    expect((await open()).splits.train.map(({ image }) => image)).toEqual(images.map((image) => `${base}/${image}`))
  })

  it("reads lists with Windows' line ends, a byte order mark, tabs, blank lines and no last line end", async () => {
    await make("", undefined, { "list_val.txt": ["", `${name(0, 15, 1)}\t0 `, "   "] }, "\r\n")
    await write("list_query.txt", `\uFEFF${name(0, 3)} 0`)
    const { splits } = await open()
    expect(splits.train).toEqual(train)
    expect(splits.query).toHaveLength(1)
  })

  it("takes endings in any case, and passes over files that no list names", async () => {
    const upper = name(3, 5).replace(".jpg", ".JPG")
    await make("", undefined, { "list_val.txt": [`${upper} 3`] })
    await put(`train/${upper}`, "train/0000/Thumbs.db", "test/0000/unlisted.jpg")
    expect((await open()).splits.train.at(-1)).toEqual({ image: `train/${upper}`, person: 4, camera: 5 })
  })

  it("lets labels differ from the names, where each person keeps one", async () => {
    await make("", undefined, { "list_query.txt": [`${name(0, 3)} 7`], "list_gallery.txt": [`${name(0, 4)} 7`] })
    expect((await open()).splits.query[0]!.person).toBe(8)
  })
})

describe("what is wrong with a line is told by list and line", () => {
  const plain = "0000/0000_000_01_0303morning_0008_0.jpg"
  it.each<readonly [what: string, line: string, problem: string]>([
    ["no label", name(0, 15, 1), `expected a path and a person, as "${plain} 0", found "${name(0, 15, 1)}"`],
    [
      "a third column",
      `${name(0, 15, 1)} 0 4`,
      `expected a path and a person, as "${plain} 0", found "${name(0, 15, 1)} 0 4"`
    ],
    [
      "a label that is no number",
      `${name(0, 15, 1)} zero`,
      `expected a person's number from 0 on in the second column, found "zero"`
    ],
    ["junk", `${name(0, 15, 1)} -1`, `expected a person's number from 0 on in the second column, found "-1"`],
    [
      "the columns the other way round",
      `0 ${name(0, 15, 1)}`,
      `expected a person's number from 0 on in the second column, found "${name(0, 15, 1)}"`
    ],
    ["a detour", `0000/./x.jpg 0`, `expected a plain path as ${plain}, found 0000/./x.jpg`],
    ["back slashes", `0000\\x.jpg 0`, `expected a plain path as ${plain}, found 0000\\x.jpg`],
    [
      "a name without a camera",
      "0000/person.jpg 0",
      `the name of 0000/person.jpg does not tell the camera; names look like PERSON_NUMBER_CAMERA_…, as ${plain}`
    ],
    [
      "no image",
      "0000/0000_000_01_Thumbs.db 0",
      `the name of 0000/0000_000_01_Thumbs.db does not tell the camera; names look like PERSON_NUMBER_CAMERA_…, as ${plain}`
    ]
  ])("%s", async (_, line, problem) => {
    await make("", undefined, { "list_val.txt": ["", line] })
    const error = await failure()
    expect(error._tag).toBe("ListInvalid")
    expect(error.message).toBe(`${at("list_val.txt")}, line 2: ${problem}`)
  })

  it.each(["../secret.jpg", "0000/../../secret.jpg", "/etc/secret.jpg"])(
    "a path that leaves the folder: %s",
    async (path) => {
      await make("", undefined, { "list_query.txt": [`${path} 0`] })
      const error = await failure()
      expect(error._tag).toBe("PathOutside")
      expect(error.message).toContain(
        `${at("list_query.txt")}, line 1 leads to ${path}, which is outside the data set's folder ${at("test")}\n`
      )
    }
  )

  it("a link that leaves the data set, of an image and of a folder", async () => {
    await make("", undefined, { "list_val.txt": [`${name(5, 1)} 5`] })
    await link(`train/${name(5, 1)}`, "/dev/null")
    expect(await failure()).toMatchObject({ _tag: "PathOutside", path: at("train", name(5, 1)), leadsTo: "/dev/null" })
    await make("", undefined, { "list_val.txt": ["0006/0006_000_01_x.jpg 6"] })
    await link("train/0006", "/etc")
    expect(await failure()).toMatchObject({ _tag: "PathOutside", path: at("train/0006"), leadsTo: "/etc" })
  })

  it("files that are not there", async () => {
    await make("", undefined, { "list_gallery.txt": [`${name(0, 4)} 0`, `${name(8, 1)} 8`, `${name(9, 1)} 9`] })
    expect((await failure()).message).toBe(
      `${at("list_gallery.txt")}, line 2: there is no file ${at("test", name(8, 1))}, nor 1 others that the lists name; was the archive unpacked to its end?`
    )
  })

  it("an image that is named twice, across both lists of the training images", async () => {
    await make("", undefined, { "list_val.txt": [`${name(0, 15, 1)} 0`, `${name(1, 2)} 1`] })
    expect((await failure()).message).toBe(
      `${at("list_val.txt")}, line 2: train/${name(1, 2)} is named already in list_train.txt, line 1`
    )
  })

  it("a label column that gives one person two labels", async () => {
    await make("", undefined, { "list_val.txt": [`${name(0, 15, 1)} 1`] })
    expect((await failure()).message).toBe(
      `${at("list_val.txt")}, line 1: person 0000 of train/${name(0, 15, 1)} has label 1, but label 0 in list_train.txt, line 2`
    )
  })

  it("any line at all: it is read or refused by a typed error that names its place", async () => {
    await make()
    const parts = fc.constantFrom(
      "0000",
      "/",
      "..",
      " ",
      "\t",
      "_",
      "_01_",
      "0",
      "-1",
      ".jpg",
      "\0",
      "é",
      name(0, 15, 1),
      "1e3"
    )
    await fc.assert(
      fc.asyncProperty(fc.array(parts, { maxLength: 6 }), async (line) => {
        await write("list_val.txt", `${line.join("")}\n`)
        const result = await Effect.runPromise(Effect.result(openDataset("msmt17", at())))
        if (result._tag === "Success") expect(result.success.splits.train).toHaveLength(3)
        else expect(result.failure.message).toContain(at("list_val.txt"))
      }),
      { numRuns: 60, seed: 1 }
    )
  })
})

describe("what is missing is told", () => {
  it("the data set", async () => {
    const error = await failure()
    expect(error).toMatchObject({ _tag: "DatasetNotFound", folder: at("MSMT17_V1") })
  })

  it("a list", async () => {
    await make()
    await write("list_val.txt", "\n")
    expect((await failure()).message).toBe(`${at("list_val.txt")}: it names no images`)
    await write("MSMT17_V1/list_train.txt", `${name(0, 1)} 0`)
    await put(`MSMT17_V1/train/${name(0, 1)}`)
    const error = await Effect.runPromise(Effect.flip(openDataset("msmt17", at("MSMT17_V1"))))
    expect(error.message).toBe(`${at("MSMT17_V1/list_val.txt")}: there is no such file; msmt17 lists its images there`)
  })

  it("the folder of images", async () => {
    await write("list_train.txt", `${name(0, 1)} 0`)
    expect(await failure()).toMatchObject({ _tag: "DatasetNotFound", folder: at("train") })
  })

  it("which version is meant", async () => {
    await make("MSMT17_V1")
    await make("MSMT17_V2", { train: "mask_train_v2", test: "mask_test_v2" })
    const error = await failure()
    expect(error._tag).toBe("VersionUnclear")
    expect(error.message).toBe(`${at()} holds MSMT17_V1 and MSMT17_V2: name the folder of one of them`)
  })
})
