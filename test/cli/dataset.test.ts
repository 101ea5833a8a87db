/** `mmt dataset`: what it prints, and what it says of bad input. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Command } from "effect/cli"
import { TestConsole } from "effect/testing"
import { afterAll, beforeAll } from "vitest"
import { dataset } from "#cli/dataset.ts"
import { planImages, SYNTHETIC_SIZES, type SyntheticSizes } from "#data/synthetic/plan.ts"
import { writeSynthetic } from "#data/synthetic/write.ts"

const SIZES: SyntheticSizes = {
  source: { cameras: 2, trainIdentities: 3, trainImages: 3, testIdentities: 2, testImages: 2 },
  target: { cameras: 3, trainIdentities: 2, trainImages: 2, testIdentities: 1, testImages: 3 }
}

let home: string
let market: string
let pair: string

/** Empty files below a folder of `home`. */
const put = async (folder: string, ...paths: ReadonlyArray<string>) => {
  for (const path of paths) {
    await mkdir(dirname(join(home, folder, path)), { recursive: true })
    await writeFile(join(home, folder, path), "")
  }
}

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "mmt-dataset-"))
  market = join(home, "market")
  await put(
    "market",
    "bounding_box_train/0002_c1s1_000451_03.jpg",
    "bounding_box_train/-1_c1s1_000452_03.jpg",
    "query/0001_c1s1_001051_00.jpg",
    "bounding_box_test/0001_c2s1_000301_01.jpg",
    "bounding_box_test/0000_c2s1_000302_01.jpg"
  )
  pair = join(home, "pair")
  await Effect.runPromise(writeSynthetic({ folder: pair, seed: 1, sizes: SIZES }))
})

afterAll(() => rm(home, { recursive: true, force: true }))

const mmt = (...args: ReadonlyArray<string>) =>
  Command.runWith(dataset, { version: "test" })(args).pipe(
    Effect.andThen(TestConsole.logLines),
    Effect.map((lines) => lines.join("\n"))
  )

const layer = Layer.mergeAll(NodeServices.layer, TestConsole.layer)

describe("check", () => {
  it.effect("prints a table with the published counts beside it", () =>
    mmt("check", market).pipe(
      Effect.map((printed) =>
        expect(printed).toBe(`${market}: market1501 (guessed from what lies in it; --format names another)
split    images  identities  cameras  junk  distractors  Market-1501 has
train         2           1        1     1            0  12,936 of 751
query         1           1        1     0            0  3,368 of 750
gallery       2           1        1     0            1  19,732 of 750, 3,819 junk
`)
      ),
      Effect.provide(layer)
    )
  )

  it.effect("prints both domains of the synthetic pair", () =>
    mmt("check", pair, "--format", "market1501").pipe(
      Effect.map((printed) =>
        expect(printed).toBe(`${join(pair, "source")}: market1501
split    images  identities  cameras  junk  distractors
train        18           3        2     0            0
query         4           2        2     0            0
gallery       4           2        2     0            0

${join(pair, "target")}: market1501
split    images  identities  cameras  junk  distractors
train        12           2        3     0            0
query         3           1        3     0            0
gallery       6           1        3     0            0
`)
      ),
      Effect.provide(layer)
    )
  )

  it.effect("prints JSON", () =>
    Effect.gen(function* () {
      const { datasets, published } = JSON.parse(yield* mmt("check", market, "--json"))
      expect(datasets).toHaveLength(1)
      expect(datasets[0]).toMatchObject({ root: market, format: "market1501", guessed: true })
      expect(datasets[0].splits[0]).toEqual({
        split: "train",
        images: 2,
        identities: 1,
        cameras: 1,
        junk: 1,
        distractors: 0
      })
      expect(published.train).toEqual({ images: 12936, identities: 751, junk: 0 })
    }).pipe(Effect.provide(layer))
  )

  it.effect("fails where there is no data set", () =>
    Effect.flip(mmt("check", join(home, "nowhere"))).pipe(
      Effect.map((error) => expect(error).toMatchObject({ _tag: "DatasetNotFound", folder: join(home, "nowhere") })),
      Effect.provide(layer)
    )
  )

  it.effect("fails where the layout is not that of the format", () =>
    Effect.flip(mmt("check", market, "--format", "msmt17")).pipe(
      Effect.map((error) =>
        expect(error).toMatchObject({ _tag: "DatasetNotFound", folder: join(market, "MSMT17_V1") })
      ),
      Effect.provide(layer)
    )
  )

  it.effect("prints the published counts of each format", () =>
    Effect.gen(function* () {
      const published = (printed: string) =>
        [...printed.matchAll(/^(?:train|query|gallery) .* {2}(\S.*)$/gm)].map(([, text]) => text)
      yield* Effect.promise(() =>
        put(
          "duke",
          "bounding_box_train/0001_c2_f0046182.jpg",
          "query/0005_c2_f0046985.jpg",
          "bounding_box_test/0005_c1_f0051391.jpg"
        )
      )
      const duke = yield* mmt("check", join(home, "duke"))
      expect(duke).toContain(`${join(home, "duke")}: dukemtmc-reid (guessed`)
      expect(published(duke)).toEqual(["16,522 of 702", "2,228 of 702", "17,661 of 1,110"])
      yield* Effect.promise(async () => {
        for (const [folder, ...lists] of [
          ["train", "train", "val"],
          ["test", "query", "gallery"]
        ] as const)
          for (const [n, list] of lists.entries()) {
            const image = `0000/0000_00${n}_01_x.jpg`
            await put("msmt", `MSMT17_V1/${folder}/${image}`)
            await writeFile(join(home, "msmt/MSMT17_V1", `list_${list}.txt`), `${image} 0\n`)
          }
      })
      const msmt = yield* mmt("check", join(home, "msmt"))
      expect(msmt).toContain(`${join(home, "msmt")}: msmt17 (guessed`)
      // What was printed before is kept by the test's console.
      expect(published(msmt.slice(duke.length))).toEqual(["32,621 of 1,041", "11,659 of 3,060", "82,161 of 3,060"])
    }).pipe(Effect.provide(layer))
  )

  it.effect("prints the cameras of a folder, by sub-folders or by a pattern", () =>
    Effect.gen(function* () {
      const mine = join(home, "mine")
      yield* Effect.promise(() => put("mine", "yard/1_cam7.jpg", "yard/2_cam9.jpg", "door/3_cam7.jpg"))
      const printed = yield* mmt("check", mine)
      expect(printed).toBe(`${mine}: folder (guessed from what lies in it; --format names another)
camera  name  images
1       door       1
2       yard       2
3 images without labels: a target to adapt to, which cannot be scored
`)
      const byPattern = yield* mmt("check", mine, "--camera-pattern", "_cam(?<camera>[0-9]+)", "--json")
      const { datasets, published } = JSON.parse(byPattern.slice(printed.length))
      expect(published).toBeNull()
      expect(datasets).toEqual([
        {
          root: mine,
          format: "folder",
          guessed: false,
          splits: [{ split: "train", images: 3, identities: 0, cameras: 2, junk: 3, distractors: 0 }],
          cameras: [
            { camera: 7, name: "7", images: 2 },
            { camera: 9, name: "9", images: 1 }
          ]
        }
      ])
    }).pipe(Effect.provide(layer))
  )

  it.effect.each([
    [["--format", "market1501", "--camera-pattern", "(?<camera>c)"], "Misuse"],
    [["--camera-pattern", "cam[0-9]"], "ShowHelp"],
    [["--camera-pattern", "(?<camera>"], "ShowHelp"]
  ] as const)("refuses a pattern that cannot be used: %j", ([flags, tag]) =>
    Effect.flip(mmt("check", market, ...flags)).pipe(
      Effect.map((error) => expect(error._tag).toBe(tag)),
      Effect.provide(layer)
    )
  )

  it.effect("decodes every image, lists those that do not decode, and fails then", () =>
    Effect.gen(function* () {
      const printed = yield* mmt("check", join(pair, "target"), "--decode")
      expect(printed).toContain("\nall 21 images decode\n")
      const error = yield* Effect.flip(mmt("check", market, "--decode"))
      expect(error.message).toBe("4 of 4 images do not decode: replace these files, or take them out of the data set")
      const said = (yield* TestConsole.logLines).slice(1).join("\n")
      expect(said).toContain(`\n${join(market, "query/0001_c1s1_001051_00.jpg")}: `)
      expect(said).not.toContain("-1_c1s1_000452_03.jpg")
    }).pipe(Effect.provide(layer))
  )

  it.effect("refuses a format it does not know", () =>
    Effect.flip(mmt("check", market, "--format", "cuhk99")).pipe(
      Effect.map((error) => expect(error._tag).toBe("ShowHelp")),
      Effect.provide(layer)
    )
  )
})

describe("synthetic", () => {
  it.effect("says that the pair is there already", () =>
    Effect.gen(function* () {
      // The full pair takes seconds to draw; its names and record are all that is looked at.
      const there = join(home, "there")
      yield* Effect.promise(() => pretendFullPair(there))
      expect(yield* mmt("synthetic", "--out", there, "--seed", "7")).toBe(
        `${there} already holds this pair (6,840 images, seed 7): nothing to do`
      )
    }).pipe(Effect.provide(layer))
  )

  it.effect("does not overwrite what it does not know, whatever --force says", () =>
    Effect.flip(mmt("synthetic", "--out", market, "--force")).pipe(
      Effect.map((error) => expect(error).toMatchObject({ _tag: "SyntheticFolderTaken", replaceable: false })),
      Effect.provide(layer)
    )
  )

  it.effect("needs a folder", () =>
    Effect.flip(mmt("synthetic")).pipe(
      Effect.map((error) => expect(error._tag).toBe("ShowHelp")),
      Effect.provide(layer)
    )
  )

  it.effect("explains itself with an example", () =>
    Effect.gen(function* () {
      const help = yield* mmt("synthetic", "--help")
      expect(help).toContain("No real person is in it")
      expect(help).toContain("mmt dataset synthetic --out datasets/synthetic")
    }).pipe(Effect.provide(layer))
  )
})

/** A folder with the names and the record of the full pair of seed 7, its images empty. */
const pretendFullPair = async (folder: string) => {
  const paths = planImages(SYNTHETIC_SIZES).map((image) => join(folder, image.path))
  for (const inner of new Set(paths.map(dirname))) await mkdir(inner, { recursive: true })
  await Promise.all(paths.map((path) => writeFile(path, "")))
  await writeFile(join(folder, "synthetic.json"), JSON.stringify({ generator: 1, seed: 7, sizes: SYNTHETIC_SIZES }))
}
