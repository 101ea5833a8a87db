/** The arrows between the folders: who may import whom, that no module is forgotten, and that none grows too long. */
import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, normalize } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"

const root = fileURLToPath(new URL("..", import.meta.url))

const below = ["model", "data", "schemas", "engine"]

/** For each folder, the folders it may import from; `bench` measures anything. */
const allowed: Readonly<Record<string, ReadonlyArray<string>>> = {
  engine: ["engine"],
  schemas: ["schemas"],
  data: below,
  model: below,
  stages: below,
  pipeline: ["pipeline", "stages", ...below],
  audit: ["audit", "pipeline", "stages", ...below],
  report: ["report", "audit", "pipeline", "stages", ...below],
  serve: ["serve", "report", "audit", "pipeline", "stages", ...below],
  cli: ["cli", "serve", "report", "audit", "pipeline", "stages", ...below],
  bench: ["bench", "cli", "report", "pipeline", "stages", ...below]
}

/** What runs without being imported: commands, and what threads are started on. */
const isEntry = (file: string) => ["cli/mmt.ts", "cli/launch.mjs"].includes(file) || file.startsWith("bench/")

interface Import {
  readonly from: string
  readonly specifier: string
  readonly typeOnly: boolean
}

const statement = /^(?:import|export)\s+(?<type>type\s)?(?:[^"';]*?\sfrom\s+)?"(?<specifier>[^"]+)"/gm
const dynamic = /(?<!typeof )\bimport\("(?<specifier>[^"]+)"\)/g
const typeQuery = /typeof import\("(?<specifier>[^"]+)"\)/g
const url = /new URL\(\s*"(?<specifier>[^"]+\.(?:ts|mjs))",\s*import\.meta\.url\s*\)/g

const importsOf = (file: string): ReadonlyArray<Import> => {
  const text = readFileSync(join(root, file), "utf8").replace(/\/\*[\s\S]*?\*\//g, "")
  const found = (pattern: RegExp, typeOnly: boolean) =>
    [...text.matchAll(pattern)].map(({ groups }) => ({
      from: file,
      specifier: pattern === url && !groups!.specifier!.startsWith(".") ? `./${groups!.specifier}` : groups!.specifier!,
      typeOnly: typeOnly || groups!.type !== undefined
    }))
  return [...found(statement, false), ...found(dynamic, false), ...found(typeQuery, true), ...found(url, false)]
}

/** The project's file that an import names; undefined for packages and for what is no module. */
const target = ({ from, specifier }: Import): string | undefined => {
  if (!/\.(ts|mjs)$/.test(specifier)) return undefined
  if (specifier.startsWith("#")) return specifier.slice(1)
  if (specifier.startsWith(".")) return normalize(join(dirname(from), specifier))
  return undefined
}

const folderOf = (file: string) => file.split("/")[0]!

const folders = readdirSync(root, { withFileTypes: true })
  .filter(
    (entry) => entry.isDirectory() && !entry.name.startsWith(".") && !["node_modules", "runs"].includes(entry.name)
  )
  .map(({ name }) => name)

const modules = folders
  .filter((folder) => folder !== "test")
  .flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map((f) => join(folder, f))
  )
  .filter((file) => /\.(ts|mjs)$/.test(file))
  .sort()

const imports = modules.flatMap(importsOf)

const shown = ({ from, specifier }: Import) => `${from} imports ${specifier}`

/** The one thing of the pipeline that stages and the contract's own imports may know. */
const contract = "pipeline/stage.ts"

const isBreach = (one: Import): boolean => {
  const to = target(one)
  if (to === undefined) return false
  const folder = folderOf(one.from)
  if (one.from === contract) return folderOf(to) !== "schemas"
  if (folder === "stages") return to !== contract && !below.includes(folderOf(to))
  return !(allowed[folder] ?? []).includes(folderOf(to))
}

describe("imports", () => {
  it("finds the modules and what they import", () => {
    expect(modules).toContain("stages/train-step.ts")
    expect(imports.map(shown)).toContain("stages/train-step.ts imports #pipeline/stage.ts")
    expect(imports.map(shown)).toContain("data/augmentation-pool.ts imports ./augment-worker.ts")
    expect(imports.length).toBeGreaterThan(modules.length)
  })

  it("has a rule for every folder with modules", () => {
    expect([...new Set(modules.map(folderOf))].filter((folder) => !(folder in allowed))).toEqual([])
  })

  it("points one way: cli → audit → pipeline → stages → {model, data, schemas} → engine", () => {
    expect(imports.filter(isBreach).map(shown)).toEqual([])
  })

  it("names a breach by file and import", () => {
    const breaches: ReadonlyArray<readonly [from: string, specifier: string]> = [
      ["engine/session.ts", "#schemas/artifact.ts"],
      ["schemas/images.ts", "#data/dataset.ts"],
      ["stages/embed.ts", "./decode.ts"],
      ["stages/embed.ts", "#stages/decode.ts"],
      ["stages/embed.ts", "#pipeline/plan.ts"],
      ["model/network.ts", "#pipeline/stage.ts"],
      ["pipeline/stage.ts", "#data/dataset.ts"],
      ["pipeline/run.ts", "../cli/run.ts"]
    ]
    for (const [from, specifier] of breaches) expect(isBreach({ from, specifier, typeOnly: false })).toBe(true)
  })

  it("lead to modules that are there", () => {
    const missing = imports.filter((one) => {
      const to = target(one)
      return to !== undefined && !modules.includes(to)
    })
    expect(missing.map(shown)).toEqual([])
  })

  it("cross folders by alias", () => {
    const crossing = imports.filter((one) => {
      const to = target(one)
      return to !== undefined && one.specifier.startsWith(".") && folderOf(to) !== folderOf(one.from)
    })
    expect(crossing.map(shown)).toEqual([])
  })

  it("take TensorFlow as a value in engine/ alone", () => {
    const values = imports.filter(({ specifier, typeOnly }) => specifier.startsWith("@tensorflow/") && !typeOnly)
    expect(values.filter(({ from }) => folderOf(from) !== "engine").map(shown)).toEqual([])
  })
})

describe("modules", () => {
  it("are each imported by another, outside the tests, or are an entry", () => {
    const imported = new Set(imports.map(target))
    expect(modules.filter((file) => !imported.has(file) && !isEntry(file))).toEqual([])
  })

  it("stay short: 300 lines are the aim, 340 the limit", () => {
    const lines = (file: string) => readFileSync(join(root, file), "utf8").trimEnd().split("\n").length
    const long = modules.map((file) => [file, lines(file)] as const).filter(([, length]) => length > 300)
    if (long.length > 0) console.warn(`over 300 lines: ${long.map(([file, n]) => `${file} (${n})`).join(", ")}`)
    expect(long.filter(([, length]) => length > 340)).toEqual([])
  })
})
