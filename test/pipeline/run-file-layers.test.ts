/** Run files that extend others: what comes of them, and where what is wrong stands. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"
import { Effect } from "effect"
import fc from "fast-check"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { keptRunFile, parseRunFile, type RunConfig, readRunFile } from "#pipeline/run-file.ts"
import { mergedOver, type Override } from "#pipeline/settings.ts"

let home: string
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "mmt-layers-"))
})
afterAll(() => rm(home, { recursive: true }))

const write = async (files: Readonly<Record<string, string>>) => {
  const folder = await mkdtemp(join(home, "case-"))
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    await writeFile(join(folder, name), text)
  }
  return folder
}

const read = (file: string, overrides: ReadonlyArray<Override> = []) => Effect.runPromise(readRunFile(file, overrides))

/** The message of what is wrong with a file, its folder left out. */
const problem = async (folder: string, file: string, overrides: ReadonlyArray<Override> = []) => {
  const error = await Effect.runPromise(Effect.flip(readRunFile(join(folder, file), overrides)))
  expect(error._tag).toBe("RunFileInvalid")
  return error.message.replaceAll(`${folder}/`, "")
}

const roots = ({ data: { source, target }, folder }: RunConfig) =>
  [source!, target].map(({ root }) => resolve(folder, root))

const base = `name: base
seed: 4
data: { source: { root: ../a }, target: { root: /b } }
evaluate: { ranks: [1, 5, 10, 20], depth: 3 }
adapt: { classes: 700, epochs: 9 }
variants: { x: { momentum: 0.5, pad: 1 } }
`

describe("a file that extends another", () => {
  it("takes its keys over, mappings merged and lists replaced, but not its name", async () => {
    const folder = await write({
      "base.yaml": base,
      "own.yaml":
        "extends: base.yaml\nadapt: { epochs: 2 }\nevaluate: { ranks: [1] }\nvariants: { x: { pad: 2 }, y: {} }"
    })
    const run = await read(join(folder, "own.yaml"))
    expect(run).toMatchObject({ name: "own", seed: 4, adapt: { classes: 700, epochs: 2 }, evaluate: { ranks: [1] } })
    expect(run.evaluate.depth).toBe(3)
    expect(run.variants).toEqual([
      ["x", { ...run.adapt, momentum: 0.5, pad: 2 }],
      ["y", run.adapt]
    ])
    expect(run).not.toHaveProperty("extends")
  })

  it("sees the paths of each file from the folder in which that file lies", async () => {
    const folder = await write({
      "sets/base.yaml": base,
      "own.yaml": "extends: sets/base.yaml",
      "far/away/mine.yaml": "extends: ../../own.yaml\ndata: { target: { root: here } }"
    })
    expect(roots(await read(join(folder, "own.yaml")))).toEqual([join(folder, "a"), "/b"])
    expect(roots(await read(join(folder, "far/away/mine.yaml")))).toEqual([
      join(folder, "a"),
      join(folder, "far/away/here")
    ])
  })

  it("can extend several, the later ones over the earlier, and what they share only once", async () => {
    const folder = await write({
      "base.yaml": base,
      "long.yaml": "extends: base.yaml\nadapt: { epochs: 80 }",
      "seven.yaml": "extends: base.yaml\nseed: 7\nadapt: { pad: 7 }",
      "own.yaml": "extends: [long.yaml, seven.yaml]\nadapt: { pad: 3 }"
    })
    const run = await read(join(folder, "own.yaml"))
    expect(run).toMatchObject({ seed: 7, adapt: { epochs: 80, classes: 700, pad: 3 } })
  })

  it("is overridden by --set, which replaces what it names", async () => {
    const folder = await write({ "base.yaml": base, "own.yaml": "extends: base.yaml\nseed: 5" })
    const run = await read(join(folder, "own.yaml"), [
      { key: "seed", value: 6 },
      { key: "adapt.epochs", value: 1 },
      { key: "variants", value: { z: {} } }
    ])
    expect(run).toMatchObject({ seed: 6, adapt: { epochs: 1, classes: 700 } })
    expect(run.variants.map(([name]) => name)).toEqual(["z"])
    const other = await write({ "one.yaml": base, "two.yaml": base.replace("seed: 4", "seed: 8"), "own.yaml": "{}" })
    expect(await read(join(other, "own.yaml"), [{ key: "extends", value: "two.yaml" }])).toMatchObject({ seed: 8 })
  })

  it("is kept in the run's folder as one file", async () => {
    const folder = await write({ "sets/base.yaml": base, "own.yaml": "extends: sets/base.yaml\nadapt: { epochs: 2 }" })
    const run = await read(join(folder, "own.yaml"), [{ key: "seed", value: 9 }])
    const at = join(folder, "runs/own")
    const text = keptRunFile(run, at)
    expect(text).not.toContain("extends")
    const kept = Effect.runSync(parseRunFile(text, join(at, "run.yaml")))
    expect(roots(kept)).toEqual(roots(run))
    expect({ ...kept, data: run.data, folder: run.folder, given: run.given }).toEqual(run)
  })
})

describe("what is wrong", () => {
  const own = { "own.yaml": "extends: bases/mid.yaml\nadapt: { classes: 3 }" }
  const mid = { "bases/mid.yaml": "extends: base.yaml\nadapt: { pad: 2 }" }
  const files = { ...own, ...mid, "bases/base.yaml": base }

  it.each<readonly [what: string, files: Readonly<Record<string, string>>, message: string]>([
    [
      "an unknown key",
      { ...files, "bases/base.yaml": `${base}colour: red` },
      'bases/base.yaml: unknown key "colour"; known here: name, extends, seed, data, model, pretrain, adapt, evaluate, engine, train, audit, variants, branch'
    ],
    [
      "a wrong value",
      { ...files, "bases/mid.yaml": "extends: base.yaml\nadapt: { pad: wide }" },
      'bases/mid.yaml: key "adapt.pad": expected number, found "wide"'
    ],
    [
      "a wrong value over a right one",
      { ...files, "own.yaml": "extends: bases/mid.yaml\nadapt: { pad: wide }" },
      'own.yaml: key "adapt.pad": expected number, found "wide"'
    ],
    [
      "a variant's key",
      { ...files, "bases/base.yaml": base.replace("momentum: 0.5", "momentum: 5") },
      'bases/base.yaml: key "variants.x.momentum": expected a value between 0 and 1, found 5'
    ],
    [
      "a variant's name",
      { ...files, "bases/mid.yaml": "extends: base.yaml\nvariants: { Big: {} }" },
      'bases/mid.yaml: variant "Big": expected a name of a-z, 0-9 and -'
    ],
    [
      "a missing key",
      { "own.yaml": "extends: m.yaml", "m.yaml": "seed: 1" },
      'own.yaml: key "data": missing key, found nothing'
    ],
    [
      "a broken file",
      { ...files, "bases/base.yaml": "a: [1\nb: 2" },
      "bases/base.yaml: Flow sequence in block collection must be sufficiently indented and end with a ] at line 2, column 1"
    ],
    [
      "a file of text",
      { ...files, "bases/base.yaml": "just text" },
      'bases/base.yaml: expected keys and their values, as "data: …", found "just text"'
    ],
    ["a missing file", { ...own, ...mid }, 'bases/mid.yaml: key "extends": bases/base.yaml: there is no such file'],
    ["a folder", { ...mid, "own.yaml": "extends: bases" }, 'own.yaml: key "extends": bases: it is a folder'],
    [
      "a circle",
      { ...own, ...mid, "bases/base.yaml": "extends: ../own.yaml" },
      'bases/base.yaml: key "extends": files extend each other in a circle: own.yaml → bases/mid.yaml → bases/base.yaml → own.yaml'
    ],
    [
      "a file that extends itself",
      { "own.yaml": "extends: [own.yaml]" },
      'own.yaml: key "extends": files extend each other in a circle: own.yaml → own.yaml'
    ],
    [
      "no file's name",
      { "own.yaml": "extends: 3" },
      'own.yaml: key "extends": expected a file\'s name or a list of them, found 3'
    ],
    [
      "nothing",
      { "own.yaml": "extends:" },
      'own.yaml: key "extends": expected a file\'s name or a list of them, found null'
    ]
  ])("names the file in which it stands: %s", async (_, files, message) => {
    expect(await problem(await write(files), "own.yaml")).toBe(message)
  })

  it("names the run file for what --set sets", async () => {
    const set = (key: string, value: unknown) => [{ key, value }]
    const folder = await write(files)
    expect(await problem(folder, "own.yaml", set("adapt.pad", "wide"))).toBe(
      'own.yaml: key "adapt.pad": expected number, found "wide"'
    )
    expect(await problem(folder, "own.yaml", set("adapt.pads", 1))).toMatch(/^own.yaml: unknown key "adapt.pads"/)
  })
})

describe("merging", () => {
  const key = fc.stringMatching(/^[a-c]$/)
  const value = fc.object({ key, values: [fc.integer(), fc.constant(null)] })

  it("has all of what is over, adds what only the other has, and leaves both as they are", () => {
    fc.assert(
      fc.property(value, value, (a, b) => {
        const before = structuredClone([a, b])
        expect(mergedOver(a, b)).toMatchObject(b)
        expect(mergedOver(mergedOver(a, b), b)).toEqual(mergedOver(a, b))
        expect(mergedOver(a, {})).toEqual(a)
        expect(mergedOver({}, a)).toEqual(a)
        expect(new Set(Object.keys(mergedOver(a, b) as object))).toEqual(new Set(Object.keys({ ...a, ...b })))
        expect([a, b]).toEqual(before)
      })
    )
  })

  it("takes keys that objects have anyway as any other", () => {
    const own = JSON.parse('{ "__proto__": { "polluted": 1 } }') as unknown
    expect("polluted" in (mergedOver({ a: 1 }, own) as object)).toBe(false)
    expect("polluted" in {}).toBe(false)
  })
})
