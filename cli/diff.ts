/** `mmt diff`: two runs side by side. */
import { Console, Effect } from "effect"
import { Argument, Command } from "effect/cli"
import { type Difference, diffRuns, type LabelDifference } from "#audit/difference.ts"
import { openRun } from "#audit/open-run.ts"
import { jsonFlag } from "#cli/audit.ts"
import { count } from "#cli/progress.ts"
import { table } from "#cli/table.ts"

const setting = (value: unknown) =>
  value === undefined ? "–" : typeof value === "string" ? value : JSON.stringify(value)
const shown = (value: number | null) => (value === null ? "–" : value.toFixed(1))

const signed = (a: number | null, b: number | null) =>
  a === null || b === null ? "" : `${b > a ? "+" : b < a ? "−" : ""}${Math.abs(b - a).toFixed(1)}`

const labelRow = ({ variant, epoch, nmi, moved, images }: LabelDifference) => [
  variant ?? "",
  String(epoch),
  nmi.toFixed(3),
  count(moved),
  count(images)
]
const labelHeadings = ["adaptation", "epoch", "NMI", "moved", "images"]

const titled = (
  title: string,
  headings: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<string>>,
  none: string
) => (rows.length === 0 ? `${title}: ${none}` : `${title}\n${table(headings, rows)}`)

const text = (a: string, b: string, { settings, scores, artifacts, labels, churn }: Difference) => {
  const own = scores.filter(({ metric }) => metric === "mAP" || metric === "top-1")
  return [
    titled(
      "settings",
      ["key", a, b],
      settings.map((one) => [one.key, setting(one.a), setting(one.b)]),
      "the same"
    ),
    titled(
      "scores, %",
      ["", "epoch", "", a, b, "difference"],
      own.map((one) => [
        one.name,
        one.epoch > 0 ? String(one.epoch) : "",
        one.metric,
        shown(one.a),
        shown(one.b),
        signed(one.a, one.b)
      ]),
      "none"
    ),
    titled(
      "artifacts",
      ["of", "stage", "same", "different", `only ${a}`, `only ${b}`, "first that differs"],
      artifacts.map((one) => [
        one.variant ?? "",
        one.stage,
        ...[one.same, one.different, one.onlyA, one.onlyB].map(count),
        one.first ?? ""
      ]),
      "none"
    ),
    titled(
      `pseudo labels of ${a} and ${b}`,
      labelHeadings,
      labels.map(labelRow),
      "no epoch in which both label the same images"
    ),
    ...[
      [a, churn.a],
      [b, churn.b]
    ].map(([run, of]) =>
      titled(
        `pseudo labels of ${run as string}, from the epoch before`,
        labelHeadings,
        (of as typeof churn.a).map(labelRow),
        "none"
      )
    )
  ].join("\n\n")
}

const folder = (name: string) => Argument.String(name).pipe(Argument.withDescription("A run's folder"))

export const diff = Command.make(
  "diff",
  { a: folder("RUN"), b: folder("OTHER"), json: jsonFlag },
  Effect.fn("mmt diff")(function* ({ a, b, json }) {
    const difference = yield* diffRuns(yield* openRun(a), yield* openRun(b))
    yield* Console.log(json ? JSON.stringify(difference, null, 2) : text(a, b, difference))
  })
).pipe(
  Command.withShortDescription("Compare two runs"),
  Command.withDescription(
    "Prints in which settings two runs differ, their scores, how many of their artifacts have the same bytes, and how far their pseudo labels are apart: between the runs and from epoch to epoch, as normalised mutual information (1: the same clusters) and as the number of images that moved. Clusters are matched one to one, the largest overlap first; an image has moved when its two clusters are not matched. Outliers count as one cluster in NMI, and are matched with outliers alone."
  ),
  Command.withExamples([
    { command: "mmt diff runs/mmt-500 runs/mmt-700", description: "What the number of clusters changes" }
  ])
)
