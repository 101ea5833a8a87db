/** The command `npm run bench`: compares with PyTorch and scikit-learn on this machine. */
import { dirname, join, resolve } from "node:path"
import { Console, Effect, FileSystem, Option, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { ensureEngine } from "#cli/engine.ts"
import { type ProgressLine, progressLine } from "#cli/progress.ts"
import type { Disagreement } from "./agreement.ts"
import { type Case, cases } from "./cases.ts"
import { type Comparison, compare, type Executables, givenFolder } from "./comparison.ts"
import { clusterLarge } from "./large.ts"
import { measureOverhead } from "./overhead.ts"
import { peerPython } from "./python.ts"
import { compareWholeRuns } from "./quickstart.ts"
import { reportRow, reportText } from "./report.ts"
import { runProgram, SideFailed } from "./side-process.ts"

/** Some cases could not be compared; why is said already. */
class CasesFailed extends Schema.TaggedError<CasesFailed>()("CasesFailed", { names: Schema.Array(Schema.String) }) {
  override get message() {
    return `not compared: ${this.names.join(", ")}`
  }
}

/** The steps of a case as plain lines on stderr, its rounds as a line of progress. */
const progressOf = (name: string) => {
  let line: ProgressLine | undefined
  return {
    doing: (what: string) => void process.stderr.write(`${name}: ${what}\n`),
    round: (done: number, total: number) => {
      line ??= progressLine(`${name}: rounds`, total)
      line.update(done)
      if (done === total) line.end()
    }
  }
}

/** Makes each program's inputs once, in a folder of its own. */
const inputFolders = (root: string, node: string) => {
  const made = new Map<string, string>()
  return Effect.fn("inputFolder")(function* ({ inputs }: Case) {
    const key = JSON.stringify(inputs)
    const found = made.get(key)
    if (found !== undefined) return found
    const fs = yield* FileSystem.FileSystem
    const folder = join(root, String(made.size))
    yield* fs.makeDirectory(folder)
    yield* runProgram(node, givenFolder(inputs, folder))
    made.set(key, folder)
    return folder
  })
}

/** Compares each case that can be compared, says aloud why another cannot, and gives both. */
const compareAll = Effect.fn("compareAll")(function* (
  chosen: ReadonlyArray<Case>,
  executables: Executables,
  rounds: Option.Option<number>
) {
  const fs = yield* FileSystem.FileSystem
  const root = yield* fs.makeTempDirectoryScoped({ prefix: "mmt-bench-" })
  const folderOf = inputFolders(root, executables.node)
  const comparisons: Array<Comparison> = []
  const failed: Array<string> = []
  for (const one of chosen) {
    const progress = progressOf(one.name)
    const compared = Effect.gen(function* () {
      progress.doing("drawing the inputs")
      const folder = yield* folderOf(one)
      const context = { executables, folder, rounds: Option.getOrElse(rounds, () => one.rounds), progress }
      comparisons.push(yield* compare(one, context))
    })
    const notCompared = (error: Disagreement | SideFailed) => {
      failed.push(one.name)
      return Console.error(error instanceof SideFailed ? `${one.name}: ${error.message}` : error.message)
    }
    yield* compared.pipe(Effect.catchTags({ Disagreement: notCompared, SideFailed: notCompared }))
  }
  return { comparisons, failed }
}, Effect.scoped)

/** In the order in which they are listed, each once; all where none is named. The peer gets the checkout if it takes one. */
const chosenOf = (names: ReadonlyArray<string>, checkout: Option.Option<string>) =>
  cases
    .filter(({ name }) => names.length === 0 || names.includes(name))
    .map((one) => {
      const args = one.peerTakesCheckout ? Option.toArray(checkout) : []
      return { ...one, peer: { ...one.peer, args: [...one.peer.args, ...args] } }
    })

const PositiveInt = Schema.Int.check(Schema.isGreaterThan(0))

export const bench = Command.make(
  "bench",
  {
    names: Argument.Literals(
      "NAME",
      cases.map(({ name }) => name)
    ).pipe(Argument.withDescription("A case; all without one"), Argument.variadic()),
    json: Flag.String("json").pipe(
      Flag.withMetavar("FILE"),
      Flag.withDescription("Writes the results there too, as [{name, ratio, ours, peer, unit, spread}]"),
      Flag.optional
    ),
    peer: Flag.Directory("peer", { mustExist: true }).pipe(
      Flag.withMetavar("DIR"),
      Flag.withDescription("A checkout of OpenUnReID, whose own code is then the peer of the case jaccard"),
      Flag.map((folder) => resolve(folder)),
      Flag.optional
    ),
    large: Flag.Boolean("large").pipe(
      Flag.withDescription(
        "Clusters 100,000 embeddings by DBSCAN, ours alone: time and peak memory; then the cases that are named"
      ),
      Flag.withDefault(false)
    ),
    overhead: Flag.Boolean("overhead").pipe(
      Flag.withDescription("Measures what a run's syncs, digests and manifests cost; then the cases that are named"),
      Flag.withDefault(false)
    ),
    quickstart: Flag.Boolean("quickstart").pipe(
      Flag.withDescription("Runs the quickstart's recipe whole, once by each side; then the cases that are named"),
      Flag.withDefault(false)
    ),
    rounds: Flag.Int("rounds").pipe(
      Flag.withDescription("Rounds of each case that are counted; by default each case's own"),
      Flag.withSchema(PositiveInt),
      Flag.optional
    )
  },
  Effect.fn("bench")(function* ({ names, json, peer, large, overhead, quickstart, rounds }) {
    const fs = yield* FileSystem.FileSystem
    if (Option.isSome(json)) yield* fs.makeDirectory(dirname(json.value), { recursive: true })
    yield* ensureEngine
    const node = process.execPath
    if (large) yield* clusterLarge(node)
    if (overhead)
      yield* measureOverhead(
        node,
        Option.getOrElse(rounds, () => 3)
      )
    const alone = names.length === 0 && (large || overhead || quickstart)
    if (alone && !quickstart) return
    const executables = { node, python: yield* peerPython }
    if (quickstart) yield* compareWholeRuns(executables)
    if (alone) return
    const { comparisons, failed } = yield* compareAll(chosenOf(names, peer), executables, rounds)
    if (comparisons.length > 0) yield* Console.log(reportText(comparisons))
    if (Option.isSome(json)) {
      yield* fs.writeFileString(json.value, `${JSON.stringify(comparisons.map(reportRow), null, 2)}\n`)
    }
    if (failed.length > 0) return yield* new CasesFailed({ names: failed })
  })
).pipe(
  Command.withDescription(
    "Compares with PyTorch and scikit-learn on this machine's CPU: both sides compute the same values first, and then take turns. The first call makes a Python environment with PyTorch in the user's cache."
  ),
  Command.withExamples([
    { command: "npm run bench", description: "All cases" },
    { command: "npm run bench -- mmt-step-small --json bench.json", description: "One case, also as JSON" },
    { command: "npm run bench -- jaccard --peer OpenUnReID", description: "Against OpenUnReID's own clustering" }
  ])
)
