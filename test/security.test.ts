/** What no module of the project may do, whatever it is given: start a shell, make code of texts, start programs by other ways than the known ones. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"

const root = fileURLToPath(new URL("..", import.meta.url))

const without = (text: string) => text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "")

const sources = readdirSync(root, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && !/^(\.|node_modules$|runs$|test$)/.test(entry.name))
  .flatMap(({ name }) => readdirSync(join(root, name), { recursive: true, encoding: "utf8" }).map((f) => join(name, f)))
  .filter((file) => /\.(ts|mjs)$/.test(file))
  .map((file) => ({ file, text: without(readFileSync(join(root, file), "utf8")) }))

const filesWith = (pattern: RegExp) => sources.flatMap(({ file, text }) => (pattern.test(text) ? [file] : []))

describe("sources", () => {
  it("are found", () => {
    expect(sources.length).toBeGreaterThan(150)
  })

  it("make no code of texts: the one script is a constant", () => {
    expect(filesWith(/\beval\(|\bnew Function\b|\bFunction\(|vm\.run|runInThisContext|runInNewContext/)).toEqual([])
    expect(filesWith(/node:vm/)).toEqual(["data/folder.ts"])
  })

  it("start no shell", () => {
    expect(filesWith(/shell: (?!false)|\bexecSync?\(\s*["'`]|["'`](ba)?sh["'`]/)).toEqual([])
  })

  it("start programs in known places only", () => {
    expect(filesWith(/node:child_process/)).toEqual(["cli/launch.mjs", "serve/beside-run.ts"])
    const byEffect = ["bench/python.ts", "bench/side-process.ts", "engine/tool.ts"]
    expect(filesWith(/\bChildProcess\.make/).sort()).toEqual(byEffect)
  })

  it("make folders that run files and flags name by the one function that ends", () => {
    // These two make the cache of the machine's own user.
    expect(filesWith(/mkdir\w*\(.*recursive/).sort()).toEqual(["bench/python.ts", "engine/install.ts"])
  })
})
