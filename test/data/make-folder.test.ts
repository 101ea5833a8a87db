/** Folders are made as `mkdir -p` makes them, and the system's refusal comes at once. */
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, expect, it } from "vitest"
import { makeFolder } from "#data/make-folder.ts"

const home = mkdtempSync(join(tmpdir(), "mmt-folder-"))
afterAll(() => rmSync(home, { recursive: true }))

it("makes a folder and those above it, also when several ask at once", async () => {
  const folder = join(home, "a/b/c")
  await Promise.all([makeFolder(folder), makeFolder(folder), makeFolder(join(home, "a/b"))])
  await makeFolder(folder)
  expect(statSync(folder).isDirectory()).toBe(true)
})

it("refuses what is a file, or lies below one", async () => {
  writeFileSync(join(home, "file"), "")
  await expect(makeFolder(join(home, "file"))).rejects.toThrow("EEXIST")
  await expect(makeFolder(join(home, "file/below"))).rejects.toThrow("ENOTDIR")
})

it.runIf(existsSync("/proc/self"))("ends where a file system makes no folder", { timeout: 5000 }, async () => {
  await expect(makeFolder("/proc/nothing/run")).rejects.toThrow("ENOENT")
})
