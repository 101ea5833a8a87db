/**
 * `npm run test:chaos -- --kills 50 [--seed N]`: small runs that are killed (SIGKILL) at random moments and taken up again
 * until they are whole, after the faults of `faults.chaos.ts`. After each kill every artifact that the manifest names must be there with its bytes; at the end all
 * artifacts must have the bytes of an undisturbed run.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { parseArgs } from "node:util"
import { random } from "#data/random.ts"
import type { TaskRecord } from "#pipeline/manifest.ts"
import {
  digests,
  drawPair,
  filesBelow,
  mmt,
  sha256,
  startedTasks,
  startMmt,
  tinyRun,
  writeRunFile
} from "../commands/mmt.ts"

const { values: flags } = parseArgs({
  options: {
    kills: { type: "string", default: "50" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) }
  }
})
const wholeNumber = (name: "kills" | "seed") => {
  const value = Number(flags[name])
  if (Number.isSafeInteger(value) && value >= 0) return value
  console.error(`--${name} expects a whole number, found ${flags[name]}`)
  process.exit(2)
}
const [most, seed] = [wholeNumber("kills"), wholeNumber("seed")]
const draw = random(seed, "chaos")
const home = mkdtempSync(join(tmpdir(), "mmt-chaos-"))

/** What must not be: printed, with the folder that shows it, which stays. */
const fail = (problem: string): never => {
  console.error(`FAILED with --seed ${seed}: ${problem}; its folder is ${home}`)
  process.exit(1)
}

const run = (folder: string) => ["run", "tiny.yaml", "--out", folder, "--threads", "2"]

/** Recorded artifacts of a run that are gone or have other bytes. */
const lost = (folder: string): ReadonlyArray<string> => {
  const manifest = join(home, folder, "manifest.json")
  if (!existsSync(manifest)) return []
  const { tasks } = JSON.parse(readFileSync(manifest, "utf8")) as { readonly tasks: Record<string, TaskRecord> }
  const files = Object.values(tasks).flatMap(({ outputs }) => Object.values(outputs).flatMap((output) => output.files))
  return files
    .filter(({ path, sha256: digest }) => {
      const file = join(home, folder, path)
      return !existsSync(file) || sha256(file) !== digest
    })
    .map(({ path }) => path)
}

const text = tinyRun
  .replace("adapt: { epochs: 2, iterations: 3,", "adapt: { epochs: 2, iterations: 24,")
  .replace("pretrain: { epochs: 2, iterations: 3,", "pretrain: { epochs: 1, iterations: 12,")
mkdirSync(home, { recursive: true })
await drawPair(home)
writeRunFile(home, `${text}train: { checkpointEvery: 5 }\naudit: { tap: [] }\n`)
console.log(`chaos: ${most} kills, seed ${seed}`)
// The first run also fills Node's cache of compiled modules: the second one is timed.
await mmt(home, ...run("undisturbed"))
const begun = performance.now()
const again = await mmt(home, ...run("timed"))
const whole = performance.now() - begun
if (again.code !== 0) fail(again.err)
const expected = digests(join(home, "undisturbed"))
if (Object.keys(expected).length === 0) fail("the undisturbed run made no artifacts")
const bare = performance.now()
await mmt(home, "--version")
const start = performance.now() - bare

let [kills, runs, within] = [0, 0, 0]
while (kills < most) {
  const folder = `disturbed-${++runs}`
  for (;;) {
    const child = startMmt(home, ...run(folder))
    const moment = start * 0.5 + draw.uniform() * (whole - start * 0.5)
    const ended = await Promise.race([child.ended, kills < most ? sleep(moment, undefined) : child.ended])
    if (ended) {
      if (ended.code !== 0) fail(`${folder} ended with ${ended.code}: ${ended.err}`)
      if (ended.err.includes("goes on with iteration")) within++
      break
    }
    child.child.kill("SIGKILL")
    const { err } = await child.ended
    if (err.includes("goes on with iteration")) within++
    kills++
    const gone = lost(folder)
    if (gone.length > 0) fail(`kill ${kills} lost ${gone.join(", ")}`)
    const at = startedTasks(join(home, folder)).at(-1) ?? "its start"
    console.log(`kill ${kills} of ${most}: ${folder}, ${Math.round(moment)} ms after the start, at ${at}; nothing lost`)
  }
  const found = digests(join(home, folder))
  const other = [...new Set([...Object.keys(expected), ...Object.keys(found)])].filter(
    (path) => expected[path] !== found[path]
  )
  if (other.length > 0) fail(`${folder} differs from the undisturbed run in ${other.join(", ")}`)
  const left = filesBelow(join(home, folder)).filter((path) => /partial|resume|lock/.test(path))
  if (left.length > 0) fail(`${folder} was left with ${left.join(", ")}`)
  console.log(`${folder}: all ${Object.keys(found).length} artifacts have the bytes of the undisturbed run`)
  rmSync(join(home, folder), { recursive: true })
}
rmSync(home, { recursive: true })
console.log(
  `${kills} kills in ${runs} runs, 0 artifacts lost or changed; ${within} times a run went on within an epoch`
)
