/** `mmt ablate`: the rows of the paper's Table 2 on any data. */
import { join } from "node:path"
import { Console, Effect, Option, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { duration } from "#cli/progress.ts"
import { drawnPair } from "#cli/quickstart.ts"
import { outFlag, quietFlag, runFileArgument, runInView, threadsFlag } from "#cli/run.ts"
import { Misuse, overrides, setFlag } from "#cli/set-flag.ts"
import { table } from "#cli/table.ts"
import { type AblationRow, ablationOf, ablationRows, type Spread } from "#pipeline/ablation.ts"
import { scoreRows } from "#pipeline/plan.ts"
import { readRunFile } from "#pipeline/run-file.ts"
import { scoreRun } from "#pipeline/score.ts"

const percent = (value: number) => value.toFixed(1)

const scoreCells = ({ mean, min, max, seeds }: Spread) =>
  seeds.length === 1 ? [percent(mean)] : [percent(mean), `${percent(min)}–${percent(max)}`]

/** The table in text; with several seeds each score is the mean over them, with the lowest and the highest. */
export const ablationTable = (rows: ReadonlyArray<AblationRow>, seeds: ReadonlyArray<number>) => {
  const heading = (score: string) => (seeds.length === 1 ? [score] : [score, "min–max"])
  const scores = table(
    ["target test, %", ...["mAP", "top-1", "best mAP", "its top-1"].flatMap(heading)],
    rows.map(({ name, last, best }) => [name, ...[last.mAP, last.top1, best.mAP, best.top1].flatMap(scoreCells)])
  )
  if (seeds.length === 1) return scores
  const bySeed = table(
    ["mAP by seed", ...seeds.map(String)],
    rows.map(({ name, last }) => [name, ...last.mAP.seeds.map(percent)])
  )
  return `${scores}\n\n${bySeed}`
}

export const ablate = Command.make(
  "ablate",
  {
    file: runFileArgument,
    out: outFlag.pipe(
      Flag.withDescription(
        "Folder of the runs, one for each seed; runs/ablation/NAME by default, after the run file's name"
      )
    ),
    seeds: Flag.Int("seed").pipe(
      Flag.withDescription("A seed of its own run; the run file's where none is given. Can be given again"),
      Flag.atLeast(0)
    ),
    classes: Flag.Int("classes").pipe(
      Flag.withSchema(Schema.Int.check(Schema.isGreaterThan(0))),
      Flag.withDescription(
        "M_t of a further row of MMT; 7/5 and 9/5 of the run file's where none is given, as 700 and 900 of 500. Can be given again"
      ),
      Flag.atLeast(0)
    ),
    synthetic: Flag.Boolean("synthetic").pipe(
      Flag.withDescription(
        "Draw the quickstart's two camera networks for each seed, and take them as source and target"
      ),
      Flag.withDefault(false)
    ),
    json: Flag.Boolean("json").pipe(
      Flag.withDescription(
        "Print {seeds, rows: [{name, last: {mAP, top1}, best: {mAP, top1}}]}, each score with its spread"
      ),
      Flag.withDefault(false)
    ),
    quiet: quietFlag,
    threads: threadsFlag,
    set: setFlag
  },
  Effect.fn("mmt ablate")(function* ({ file, out, seeds: given, classes, synthetic, json, quiet, threads, set }) {
    const settings = yield* overrides(set)
    const config = yield* readRunFile(file, settings)
    if (scoreRows(config).length === 0)
      return yield* new Misuse({ problem: `${file}: the target has no labels, so there is nothing to compare rows by` })
    const rows = yield* ablationOf(config, classes.length > 0 ? classes : undefined)
    const seeds = given.length > 0 ? [...new Set(given)] : [config.seed]
    const parent = Option.getOrElse(out, () => join("runs", "ablation", config.name))
    const started = performance.now()
    const scored = yield* Effect.forEach(seeds, (seed) =>
      Effect.gen(function* () {
        const folder = join(parent, `seed-${seed}`)
        const data = synthetic ? yield* drawnPair(seed) : []
        const own = [
          { key: "name", value: `${config.name}-seed-${seed}` },
          { key: "seed", value: seed }
        ]
        const run = yield* readRunFile(file, [...settings, ...own, ...data, ...rows])
        yield* Console.error(`running ${file} with seed ${seed} in ${folder}`)
        yield* runInView(run, folder, threads, quiet ? "quiet" : "view")
        return yield* scoreRun(run, folder)
      })
    )
    const result = ablationRows(scored)
    if (json) return yield* Console.log(JSON.stringify({ seeds, rows: result }, null, 2))
    const took = duration((performance.now() - started) / 1000)
    const where = `seeds ${seeds.join(", ")}; run folders: ${join(parent, "seed-*")}; ${took}`
    yield* Console.log(`\n${ablationTable(result, seeds)}\n\n${where}`)
  })
).pipe(
  Command.withShortDescription("Run the ablations of the paper's Table 2"),
  Command.withDescription(
    "Runs the rows of the paper's Table 2 on the data of a run file, whose `adapt` is MMT: source only, baseline, MMT without each of its parts, with other clusters, and two networks with hard labels and mean teachers as a control. They share decoding and pre-training. mAP and top-1 are the mean of the two networks after the last epoch; best is the network of the highest mAP after any evaluated epoch, chosen by the test labels as the paper's scores are. Started again, it goes on where it was."
  ),
  Command.withExamples([
    {
      command: "mmt ablate recipes/quickstart-ablation.yaml --synthetic --seed 1 --seed 2 --seed 3",
      description: "On images that it draws itself, with the spread over three seeds"
    },
    { command: "mmt ablate recipes/duke-to-market.yaml", description: "The paper's own table" }
  ])
)
