/** `mmt report`: a page to look at, and figures for papers. */
import { join } from "node:path"
import { Console, Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { openRun } from "#audit/open-run.ts"
import { auditProgress, keptAudit } from "#cli/audit.ts"
import { duration } from "#cli/progress.ts"
import { makeFolder } from "#data/make-folder.ts"
import { WriteFailed } from "#pipeline/arrow-file.ts"
import { writeWhole } from "#pipeline/manifest.ts"

const size = (bytes: number) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`)

/** What draws is loaded for this command alone, so that the others start without it. */
const drawing = Effect.promise(async () => ({
  ...(await import("#report/figures.ts")),
  ...(await import("#report/page.ts")),
  ...(await import("#report/read-page-data.ts")),
  ...(await import("#report/run-data.ts"))
}))

/** Audits a run for the page, which shows what it finds. */
const auditFirst = (folder: string) =>
  Effect.gen(function* () {
    const { tell, next } = auditProgress()
    return yield* keptAudit(yield* openRun(folder), tell, next)
  })

export const report = Command.make(
  "report",
  {
    runs: Argument.String("RUN").pipe(
      Argument.withDescription("A run's folder; several are compared"),
      Argument.atLeast(1)
    ),
    out: Flag.String("out").pipe(
      Flag.withMetavar("FILE"),
      Flag.withDescription("The page's file; report.html in the first run's folder by default"),
      Flag.optional
    ),
    figures: Flag.String("figures").pipe(
      Flag.withMetavar("DIR"),
      Flag.withDescription("Write each chart as SVG, with its numbers as CSV, into this folder in place of the page"),
      Flag.optional
    ),
    audit: Flag.Boolean("audit").pipe(
      Flag.withDescription("Audit each run first, which reads every byte of it; else its last audit is shown"),
      Flag.withDefault(false)
    )
  },
  Effect.fn("mmt report")(function* ({ runs: folders, out, figures: figureFolder, audit }) {
    const start = performance.now()
    if (audit) yield* Effect.forEach(folders, auditFirst, { discard: true })
    const { distinctlyLabelled, figures, page, readPageData, readRun } = yield* drawing
    const runs = distinctlyLabelled(yield* Effect.forEach(folders, readRun))
    const data = yield* Effect.forEach(runs, readPageData)
    if (Option.isSome(figureFolder)) {
      const folder = figureFolder.value
      yield* Effect.tryPromise({ try: () => makeFolder(folder), catch: WriteFailed.of(folder) })
      const made = figures(data)
      for (const { file, text } of made) yield* writeWhole(join(folder, file), text)
      return yield* Console.log(`wrote ${made.length} files to ${folder}`)
    }
    const text = page(data)
    const file = Option.getOrElse(out, () => join(folders[0]!, "report.html"))
    yield* writeWhole(file, text)
    const seconds = (performance.now() - start) / 1000
    yield* Console.log(`wrote ${file}: ${size(Buffer.byteLength(text))}, ${duration(seconds)}`)
  })
).pipe(
  Command.withShortDescription("Write a page that shows a run"),
  Command.withDescription(
    "Writes one HTML file that needs no network: scores and curves, losses, clusters, a map of the target's embeddings, ranking strips, the stages with their times, the outcome of the last `mmt audit`, the run file. A run that goes on is shown as far as it is."
  ),
  Command.withExamples([
    { command: "mmt report runs/quickstart-seed-1", description: "Into runs/quickstart-seed-1/report.html" },
    { command: "mmt report runs/a runs/b --out compared.html", description: "Two runs side by side" },
    { command: "mmt report runs/a --figures figures", description: "Charts for a paper" }
  ])
)
