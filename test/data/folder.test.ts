/** A folder of images without labels: which images, which cameras, and patterns that do not fit. */
import { Effect, Result, Schema } from "effect"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { openDataset, statistics } from "#data/dataset.ts"
import { CameraPattern } from "#data/folder.ts"
import { datasetFolder } from "./dataset-files.ts"

const { at, link, put } = datasetFolder()

const open = (cameraPattern?: string) =>
  Effect.runPromise(openDataset("folder", at(), cameraPattern === undefined ? {} : { cameraPattern }))
const failure = (cameraPattern?: string) =>
  Effect.runPromise(Effect.flip(openDataset("folder", at(), cameraPattern === undefined ? {} : { cameraPattern })))

const cameras = async (cameraPattern?: string) => {
  const { splits, cameraNames } = await open(cameraPattern)
  return splits.train.map(({ image, camera }) => [image, camera, cameraNames!.get(camera)])
}

describe("reading", () => {
  it("takes every image at any depth as one of an unknown person, by path, and each sub-folder as a camera", async () => {
    await put("yard/b.jpg", "yard/day/a.PNG", "door/1.JPEG", "door/z/y/x.bmp")
    await put("door/Thumbs.db", "door/notes.txt", ".cache/t.jpg", "yard/._b.jpg", "empty/readme.md")
    const dataset = await open()
    expect(dataset.splits.train).toEqual([
      { image: "door/1.JPEG", person: -1, camera: 1 },
      { image: "door/z/y/x.bmp", person: -1, camera: 1 },
      { image: "yard/b.jpg", person: -1, camera: 2 },
      { image: "yard/day/a.PNG", person: -1, camera: 2 }
    ])
    expect([...dataset.cameraNames!]).toEqual([
      [1, "door"],
      [2, "yard"]
    ])
    expect(dataset.splits.query).toEqual([])
    expect(statistics(dataset)).toEqual([
      { split: "train", images: 4, identities: 0, cameras: 2, junk: 4, distractors: 0 }
    ])
  })

  it("takes images beside sub-folders as one more camera", async () => {
    await put("a.jpg", "b.jpg")
    expect(await cameras()).toEqual([
      ["a.jpg", 1, "."],
      ["b.jpg", 1, "."]
    ])
    await put("gate/c.jpg")
    expect(await cameras()).toEqual([
      ["a.jpg", 1, "."],
      ["b.jpg", 1, "."],
      ["gate/c.jpg", 2, "gate"]
    ])
  })

  it("finds cameras by a pattern in the path, and keeps their numbers where all are numbers", async () => {
    await put("2024/x_cam07_1.jpg", "2024/x_cam12_2.jpg", "2025/x_cam07_3.jpg")
    expect(await cameras("_cam(?<camera>[0-9]+)_")).toEqual([
      ["2024/x_cam07_1.jpg", 7, "07"],
      ["2024/x_cam12_2.jpg", 12, "12"],
      ["2025/x_cam07_3.jpg", 7, "07"]
    ])
    expect((await cameras("_(?<camera>cam[0-9]+)_")).map(([, camera]) => camera)).toEqual([1, 2, 1])
    expect((await cameras("^(?<camera>[^/]+)/")).map(([, camera]) => camera)).toEqual([2024, 2024, 2025])
  })

  it("follows links to images within, and takes no image twice through a linked folder", async () => {
    await put("door/a.jpg")
    await link("yard/a.jpg", "../door/a.jpg")
    await link("again", "door")
    await link("door/loop", "..")
    expect((await open()).splits.train.map(({ image }) => image)).toEqual(["door/a.jpg", "yard/a.jpg"])
  })
})

describe("what is wrong is told", () => {
  it.each([
    ["an image", "door/b.jpg", "/dev/null"],
    ["a folder", "etc", "/etc"]
  ])("a link out of the folder: %s", async (_, path, to) => {
    await put("door/a.jpg")
    await link(path, to)
    expect(await failure()).toMatchObject({ _tag: "PathOutside", path: at(path), leadsTo: to })
  })

  it("a folder that is missing or has no images", async () => {
    await put("readme.txt")
    expect(await failure()).toMatchObject({ _tag: "DatasetEmpty", folder: at() })
    const missing = await Effect.runPromise(Effect.flip(openDataset("folder", at("nowhere"))))
    expect(missing).toMatchObject({ _tag: "DatasetNotFound", folder: at("nowhere") })
  })

  it("a path in which the pattern finds no camera", async () => {
    await put("cam1_a.jpg", "door.jpg", "gate.jpg")
    const error = await failure("^cam(?<camera>[0-9]+)?")
    expect(error._tag).toBe("CameraUnknown")
    expect(error.message).toBe(
      `${at("door.jpg")}: cameraPattern ^cam(?<camera>[0-9]+)? finds no camera in its path (so in 2 of 3 images)\nchange the pattern, or leave it out: each sub-folder is a camera then`
    )
  })

  it("a pattern that would search for years", async () => {
    await put("ok.jpg", `${"x".repeat(40)}.jpg`)
    const started = performance.now()
    const error = await failure("^(?<camera>(x+x+)+|ok)[.]j(pg|peg)y?$(?<=ok.jpg|y)")
    expect(error._tag).toBe("CameraUnknown")
    expect(error.message).toContain(" takes too long to search this path\n")
    expect(performance.now() - started).toBeLessThan(10_000)
  }, 20_000)
})

describe("CameraPattern", () => {
  const problem = (pattern: string) => {
    const decoded = Schema.decodeUnknownResult(CameraPattern)(pattern)
    return Result.isFailure(decoded) ? decoded.failure.message : undefined
  }

  it("must compile and have a group camera", () => {
    expect(problem("cam(?<camera>[0-9]+)")).toBeUndefined()
    expect(problem("cam([0-9]+)")).toContain("expected a regular expression with a group (?<camera>…)")
    expect(problem("(?<Camera>x)")).toContain("with a group (?<camera>…)")
    expect(problem("cam(?<camera>[0-9+")).toMatch(/expected a regular expression; Invalid regular expression: /)
    expect(problem("")).toBeDefined()
  })

  it("is accepted or refused whatever its text, and then reads or fails by a typed error", async () => {
    await put("cam1/a.jpg")
    const parts = fc.constantFrom("(?<camera>", ")", "[0-9]", "+", "*", "?", "|", "\\d", "(", "cam", "/", "{9}", "\\1")
    await fc.assert(
      fc.asyncProperty(fc.array(parts, { maxLength: 8 }), async (some) => {
        const pattern = some.join("")
        if (problem(pattern) !== undefined) return
        const result = await Effect.runPromise(Effect.result(openDataset("folder", at(), { cameraPattern: pattern })))
        if (Result.isFailure(result)) expect(result.failure._tag).toBe("CameraUnknown")
      }),
      { numRuns: 200, seed: 1 }
    )
  })
})
