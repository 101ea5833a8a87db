/** The quickstart's run file, for the pair of data sets in a folder. */
import { join } from "node:path"
import { readRunFile } from "#pipeline/run-file.ts"

const recipe = new URL("../../recipes/quickstart.yaml", import.meta.url).pathname

export const quickstartRun = (folder: string, settings: Readonly<Record<string, unknown>> = {}) => {
  const roots = {
    "data.source.root": join(folder, "pair/source"),
    "data.target.root": join(folder, "pair/target")
  }
  return readRunFile(
    recipe,
    Object.entries({ ...roots, ...settings }).map(([key, value]) => ({ key, value }))
  )
}
