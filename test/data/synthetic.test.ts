/** The synthetic pair: the same bytes for a seed, its layout, what its people have in common, and what it never overwrites. */
import { createHash } from "node:crypto"
import { existsSync } from "node:fs"
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import sharp, { type ChannelStats } from "sharp"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { openDataset, statistics } from "#data/dataset.ts"
import { random } from "#data/random.ts"
import { camera, shoot } from "#data/synthetic/camera.ts"
import { expose, IMAGE } from "#data/synthetic/exposure.ts"
import { identity, type Rgb, shiftHsv } from "#data/synthetic/identity.ts"
import { planImages, SYNTHETIC_SIZES, type SyntheticSizes } from "#data/synthetic/plan.ts"
import { GENERATOR_VERSION, type SyntheticOptions, writeSynthetic } from "#data/synthetic/write.ts"

const SIZES: SyntheticSizes = {
  source: { cameras: 2, trainIdentities: 3, trainImages: 3, testIdentities: 2, testImages: 2 },
  target: { cameras: 3, trainIdentities: 2, trainImages: 2, testIdentities: 1, testImages: 3 }
}

let home: string
let pair: string

const write = (options: Omit<SyntheticOptions, "sizes"> & { readonly sizes?: SyntheticSizes }) =>
  writeSynthetic({ sizes: SIZES, ...options })
const run = (options: Parameters<typeof write>[0]) => Effect.runPromise(write(options))
const failure = (options: Parameters<typeof write>[0]) => Effect.runPromise(Effect.flip(write(options)))

/** The digest of each file, by its path. */
const digests = async (folder: string) => {
  const files = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
  const entries = await Promise.all(
    files.map(async (file) => {
      const path = join(file.parentPath, file.name)
      const digest = createHash("sha256")
        .update(await readFile(path))
        .digest("hex")
      return [path.slice(folder.length + 1), digest] as const
    })
  )
  return Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "mmt-synthetic-"))
  pair = join(home, "pair")
  await run({ folder: pair, seed: 100, concurrency: 3 })
})

afterAll(() => rm(home, { recursive: true, force: true }))

describe("the images", () => {
  it("are the same bytes for a seed, for any number of workers, alone or on a sheet", async () => {
    for (const concurrency of [1, 7]) {
      const again = join(home, `again-${concurrency}`)
      await run({ folder: again, seed: 100, concurrency })
      expect(await digests(again)).toEqual(await digests(pair))
    }
    // Fewer images lie elsewhere on their sheets.
    const fewer = join(home, "fewer")
    await run({ folder: fewer, seed: 100, sizes: { ...SIZES, source: { ...SIZES.source, trainImages: 1 } } })
    const all = await digests(pair)
    for (const [path, digest] of Object.entries(await digests(fewer)))
      if (path.endsWith(".jpg")) expect(all[path]).toBe(digest)
  })

  it("are drawn by version 1 of the generator: when this fails, GENERATOR_VERSION has to rise", () => {
    const drawn = createHash("sha256")
    for (const domain of ["source", "target"] as const)
      for (let person = 1; person <= 40; person++) {
        const by = camera(100, domain, (person % 6) + 1, 6)
        drawn.update(shoot(identity(100, domain, person), domain, by, random(100, domain, person)).svg)
      }
    expect([GENERATOR_VERSION, drawn.digest("hex").slice(0, 16)]).toEqual([1, "7c306dc9e4064984"])
  })

  it("all differ from each other and from those of another seed", async () => {
    const other = join(home, "other-seed")
    await run({ folder: other, seed: 101 })
    const all = [...Object.values(await digests(pair)), ...Object.values(await digests(other))]
    expect(new Set(all).size).toBe(all.length)
  })

  it("are 64 × 32 RGB JPEGs", async () => {
    for (const path of Object.keys(await digests(pair)).filter((path) => path.endsWith(".jpg"))) {
      const { channels, format, height, width } = await sharp(join(pair, path)).metadata()
      expect({ channels, format, height, width }).toEqual({ channels: 3, format: "jpeg", height: 64, width: 32 })
    }
  })

  it("of the target are redder, yellower and of less contrast than the source's", async () => {
    const stats = async (domain: string) => {
      const folder = join(pair, domain, "bounding_box_train")
      const each = await Promise.all((await readdir(folder)).map((name) => sharp(join(folder, name)).stats()))
      const mean = (of: (channel: ChannelStats) => number) =>
        [0, 1, 2].map((c) => each.reduce((sum, image) => sum + of(image.channels[c]!), 0) / each.length)
      return { levels: mean((channel) => channel.mean), spread: mean((channel) => channel.stdev) }
    }
    const source = await stats("source")
    const target = await stats("target")
    expect(target.levels[0]! - target.levels[2]!).toBeGreaterThan(15 + source.levels[0]! - source.levels[2]!)
    for (const channel of [0, 1, 2]) expect(target.spread[channel]!).toBeLessThan(0.8 * source.spread[channel]!)
  })
})

describe("the layout", () => {
  it("is Market-1501's, with the sizes asked for and persons of their own in the test", async () => {
    const expected = {
      source: { train: [18, 3, 2], query: [4, 2, 2], gallery: [4, 2, 2] },
      target: { train: [12, 2, 3], query: [3, 1, 3], gallery: [6, 1, 3] }
    }
    for (const domain of ["source", "target"] as const) {
      const dataset = await Effect.runPromise(openDataset("market1501", join(pair, domain)))
      for (const { cameras, distractors, identities, images, junk, split } of statistics(dataset)) {
        expect([images, identities, cameras]).toEqual(expected[domain][split])
        expect([junk, distractors]).toEqual([0, 0])
      }
      const trained = new Set(dataset.splits.train.map((entry) => entry.person))
      expect(trained.has(1)).toBe(true)
      expect(dataset.splits.query.some((entry) => trained.has(entry.person))).toBe(false)
    }
    expect(existsSync(join(pair, "source/bounding_box_train/0003_c2s1_000003_01.jpg"))).toBe(true)
    expect(existsSync(join(pair, "target/query/0003_c3s1_000001_00.jpg"))).toBe(true)
  })

  it("of the full pair has 4,200 source and 2,640 target images, no name twice", () => {
    const paths = planImages(SYNTHETIC_SIZES).map((image) => image.path)
    expect(new Set(paths).size).toBe(paths.length)
    const within = (folder: string) => paths.filter((path) => path.startsWith(folder)).length
    expect(within("source/bounding_box_train/")).toBe(3600)
    expect(within("source/query/")).toBe(300)
    expect(within("source/bounding_box_test/")).toBe(300)
    expect(within("target/bounding_box_train/")).toBe(1440)
    expect(within("target/query/")).toBe(600)
    expect(within("target/bounding_box_test/")).toBe(600)
  })
})

describe("writing", () => {
  it("says how far it is", async () => {
    const calls: Array<readonly [number, number]> = []
    const { images } = await run({
      folder: join(home, "progress"),
      seed: 1,
      onProgress: (done, total) => calls.push([done, total])
    })
    expect(images).toBe(47)
    expect(calls.at(-1)).toEqual([47, 47])
    expect(calls.map(([done]) => done)).toEqual(calls.map(([done]) => done).toSorted((a, b) => a - b))
  })

  it("does nothing where the pair is, and fills an empty folder", async () => {
    expect(await run({ folder: pair, seed: 100 })).toEqual({ folder: pair, images: 47, written: false })
    const empty = join(home, "empty")
    await mkdir(empty)
    expect((await run({ folder: empty, seed: 100 })).written).toBe(true)
  })

  it("replaces another pair only under force", async () => {
    const folder = join(home, "forced")
    await run({ folder, seed: 1 })
    const error = await failure({ folder, seed: 2 })
    expect(error._tag).toBe("SyntheticFolderTaken")
    expect(error.message).toBe(
      `${folder} already holds the synthetic pair of seed 1 (generator 1)\nchoose another folder, or pass --force to replace it`
    )
    expect((await run({ folder, seed: 2, force: true })).written).toBe(true)
    expect(JSON.parse(await readFile(join(folder, "synthetic.json"), "utf8"))).toEqual({
      generator: 1,
      seed: 2,
      sizes: SIZES
    })
    expect((await readdir(home)).filter((name) => /partial|replaced/.test(name))).toEqual([])
  })

  it("notices missing images and an unreadable record", async () => {
    const folder = join(home, "damaged")
    await run({ folder, seed: 1 })
    await rm(join(folder, "target/query/0003_c1s1_000001_00.jpg"))
    expect((await failure({ folder, seed: 1 })).message).toContain("this pair, but not all of its images")
    await writeFile(join(folder, "synthetic.json"), "{")
    expect((await failure({ folder, seed: 1 })).message).toContain("a synthetic.json that cannot be read")
    expect((await run({ folder, seed: 1, force: true })).written).toBe(true)
  })

  it("never replaces anything that is not a synthetic pair", async () => {
    const folder = join(home, "mine")
    await mkdir(folder)
    await writeFile(join(folder, "thesis.txt"), "")
    const error = await failure({ folder, seed: 1, force: true })
    expect(error.message).toBe(
      `${folder} already holds other things (thesis.txt)\nchoose another folder: only a synthetic pair is ever replaced`
    )
    const file = join(folder, "thesis.txt")
    expect((await failure({ folder: file, seed: 1, force: true })).message).toContain("a file of this name")
    await rm(file)
    await run({ folder, seed: 1 })
    await writeFile(file, "")
    expect((await failure({ folder, seed: 2, force: true })).message).toContain("other things (thesis.txt)")
    expect(existsSync(file)).toBe(true)
  })

  it("leaves nothing behind when it fails or is interrupted", async () => {
    const file = join(home, "a-file")
    await writeFile(file, "")
    const error = await failure({ folder: join(file, "inside"), seed: 1 })
    expect(error.message).toContain("already holds a file of this name")
    const tooLong = join(home, "x".repeat(300))
    expect((await failure({ folder: tooLong, seed: 1 })).message).toContain(
      `cannot write the synthetic pair to ${tooLong}: ENAMETOOLONG`
    )

    const folder = join(home, "stopped")
    let stop = () => {}
    const stopped = new Promise<void>((resolve) => {
      stop = resolve
    })
    await Effect.runPromise(
      Effect.race(
        write({ folder, seed: 1, concurrency: 1, onProgress: stop }),
        Effect.promise(() => stopped)
      )
    )
    expect((await readdir(home)).filter((name) => name.startsWith("stopped"))).toEqual([])
  })
})

describe("identities", () => {
  const VISIBLE = ["hairStyle", "hat", "pattern", "sleeve", "bottom", "bag"] as const
  const COLOURS = ["hair", "top", "second", "legs", "shoes"] as const
  const distance = (a: Rgb, b: Rgb) => Math.max(...a.map((level, i) => Math.abs(level - b[i]!)))

  /** In how many of the eleven visible attributes two people surely differ; jitter alone moves a colour by 60 at most. */
  const differences = (one: number, other: number) => {
    const a = identity(100, "source", one)
    const b = identity(100, "source", other)
    return (
      VISIBLE.filter((name) => a[name] !== b[name]).length +
      COLOURS.filter((name) => distance(a[name], b[name]) > 60).length
    )
  }

  it("of the source come in twos that differ in four attributes at most", () => {
    const families = Array.from({ length: 100 }, (_, family) => differences(2 * family + 1, 2 * family + 2))
    const strangers = Array.from({ length: 99 }, (_, family) => differences(2 * family + 2, 2 * family + 3))
    const mean = (list: ReadonlyArray<number>) => list.reduce((sum, n) => sum + n, 0) / list.length
    expect(Math.max(...families)).toBeLessThanOrEqual(4)
    expect(mean(families)).toBeGreaterThan(1.5)
    expect(mean(strangers)).toBeGreaterThan(4.5)
  })

  it("follow the shares of their attributes", () => {
    const people = Array.from({ length: 2000 }, (_, i) => identity(100, "target", i + 1))
    const share = (of: (person: (typeof people)[number]) => boolean) => people.filter(of).length / people.length
    expect(share((person) => person.hat === "none")).toBeCloseTo(0.8, 1)
    expect(share((person) => person.pattern === "plain")).toBeCloseTo(0.35, 1)
    expect(share((person) => person.bottom === "trousers")).toBeCloseTo(0.5, 1)
    expect(share((person) => person.bag === "none")).toBeCloseTo(0.4, 1)
    for (const person of people) {
      expect(person.build).toBeGreaterThan(0.85)
      expect(person.build).toBeLessThan(1.18)
      expect(Math.abs(person.height - 1)).toBeLessThanOrEqual(0.05)
    }
  })
})

describe("colours", () => {
  it("keep through a shift of nothing and turn through the circle", () => {
    for (const colour of [
      [12, 200, 99],
      [0, 0, 0],
      [255, 255, 255],
      [7, 7, 7]
    ] as const)
      expect(shiftHsv(colour, 0, 0, 0)).toEqual(colour)
    expect(shiftHsv([255, 0, 0], 1 / 3, 0, 0)).toEqual([0, 255, 0])
    expect(shiftHsv([255, 0, 0], -1 / 3, 0, 0)).toEqual([0, 0, 255])
    expect(shiftHsv([200, 100, 100], 0, -1, 0)).toEqual([200, 200, 200])
  })

  it("of a plain canvas come out as the tones say, with the noise about them", () => {
    const canvas = new Uint8Array(128 * 256 * 4).fill(128)
    const shot = {
      ...shoot(identity(1, "target", 1), "target", camera(1, "target", 1, 6), random(1)),
      tones: [{ gain: [1, 0.5, 3] as const, gamma: 2, contrast: 0.5, brightness: 10 }],
      noise: 6,
      noiseFrom: random("noise")
    }
    const image = expose(canvas, 0, shot)
    expect(image.length).toBe(IMAGE.width * IMAGE.height * 3)
    for (const [channel, expected] of [105.9, 81.8, 201.25].entries()) {
      const levels = Array.from({ length: image.length / 3 }, (_, i) => image[3 * i + channel]!)
      const mean = levels.reduce((sum, level) => sum + level, 0) / levels.length
      const spread = Math.sqrt(levels.reduce((sum, level) => sum + (level - mean) ** 2, 0) / levels.length)
      expect(Math.abs(mean - expected)).toBeLessThan(0.5)
      expect(Math.abs(spread - 6)).toBeLessThan(0.4)
    }
  })
})
