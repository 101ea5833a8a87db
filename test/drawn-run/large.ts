/**
 * `npm run -s fixture:large -- DIR`: draws a run of 40 epochs with 20,000 training images of the target into a folder that is not
 * there yet (2 GB, some 4 minutes), for measuring what reads large runs.
 */
import { existsSync } from "node:fs"
import { basename, resolve } from "node:path"
import { Effect } from "effect"
import { drawRun } from "./drawn-run.ts"

const [folder, ...more] = process.argv.slice(2)
if (folder === undefined || folder.startsWith("-") || more.length > 0) {
  process.stderr.write("usage: npm run -s fixture:large -- DIR\n")
  process.exit(2)
}
if (existsSync(folder)) {
  process.stderr.write(`${folder} is there already; name a folder that is not\n`)
  process.exit(2)
}

const runFile = `name: ${JSON.stringify(basename(resolve(folder)))}
seed: 1
data:
  source: { root: source }
  target: { root: target }
  height: 128
  width: 64
pretrain: { epochs: 20, iterations: 50, milestones: [15] }
adapt: { epochs: 40, iterations: 200, classes: 500 }
variants: { baseline: { softIdentity: 0, softTriplet: 0, meanTeachers: false } }
`

const sizes = {
  ...{ source: 2_000, train: 20_000, query: 1_000, gallery: 5_000 },
  ...{ identities: 700, cameras: 6, dimension: 128 }
}

const start = performance.now()
await Effect.runPromise(drawRun(folder, runFile, sizes))
process.stdout.write(`drew ${folder} in ${Math.round((performance.now() - start) / 1000)} s\n`)
