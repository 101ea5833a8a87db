/** Folders are made by this alone: Node's own way with `recursive` asks the system without end where a file system makes none, as `/proc`. */
import { mkdir, stat } from "node:fs/promises"
import { dirname } from "node:path"

const codeOf = (cause: unknown) => (cause as NodeJS.ErrnoException).code

const isFolder = (path: string) =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false
  )

/** Makes a folder and those above it, where they are not there. Rejects with the system's refusal. */
export const makeFolder = async (folder: string): Promise<void> => {
  try {
    await mkdir(folder)
  } catch (cause) {
    if (codeOf(cause) === "EEXIST" && (await isFolder(folder))) return
    if (codeOf(cause) !== "ENOENT") throw cause
    const above = dirname(folder)
    if (above !== folder && !(await isFolder(above))) await makeFolder(above)
    // Another process may have made it by now.
    await mkdir(folder).catch(async (again) => {
      if (!(await isFolder(folder))) throw again
    })
  }
}
