/** Small data sets for tests: folders with files of any content, and images of one colour. */
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import sharp from "sharp"
import { afterEach, beforeEach } from "vitest"

/** A new folder for each test of a file, as `root`, and what puts files into it. */
export const datasetFolder = () => {
  const made = { root: "" }
  beforeEach(async () => {
    made.root = await mkdtemp(join(tmpdir(), "mmt-dataset-"))
  })
  afterEach(() => rm(made.root, { recursive: true, force: true }))

  const write = async (path: string, content: string | Uint8Array) => {
    await mkdir(dirname(join(made.root, path)), { recursive: true })
    await writeFile(join(made.root, path), content)
  }
  return {
    /** The folder, or a path below it. */
    at: (...path: ReadonlyArray<string>) => join(made.root, ...path),
    write,
    /** Empty files, where only names matter. */
    put: async (...paths: ReadonlyArray<string>) => {
      for (const path of paths) await write(path, "")
    },
    link: async (path: string, to: string) => {
      await mkdir(dirname(join(made.root, path)), { recursive: true })
      await symlink(to, join(made.root, path))
    }
  }
}

/** A JPEG file of one colour, 16 × 8 pixels. */
export const jpeg = (level = 90): Promise<Buffer> =>
  sharp({ create: { width: 8, height: 16, channels: 3, background: { r: level, g: 60, b: 30 } } })
    .jpeg()
    .toBuffer()
