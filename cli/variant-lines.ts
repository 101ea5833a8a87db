/** What `mmt rerun --set` prints of a variant. */
import type { OutputChange, TaskVariant, Variant } from "#audit/variant.ts"
import { count } from "#cli/progress.ts"
import { foldedNames, wrapped } from "#cli/task-groups.ts"

const metric = (name: string, value: number | null) =>
  value === null ? "–" : name === "queries" ? count(value) : (100 * value).toFixed(2)

const metricLine = ({ name, was, now }: NonNullable<OutputChange["metrics"]>[number]) =>
  `    ${name}: ${metric(name, now)}${was === now ? "" : `, was ${metric(name, was)}`}`

const was = ([before, now]: readonly [number, number]) =>
  `${count(now)}${before === now ? "" : `, ${count(before)} before`}`

const outputLines = ({
  port,
  same,
  rows,
  differing,
  largest,
  labels,
  metrics
}: OutputChange): ReadonlyArray<string> => {
  if (same) return [`  ${port}: the same bytes`]
  const by = largest ? `, by ${largest.difference.toPrecision(3)} at most (column "${largest.column}")` : ""
  const differ = differing === null ? "" : `, of which ${count(differing)} differ${by}`
  const head = `  ${port}: rows ${was(rows)}${differ}`
  if (labels)
    return [
      `  ${port}: NMI ${labels.nmi.toFixed(3)}, ${count(labels.moved)} of ${count(labels.images)} images moved; clusters ${was(labels.clusters)}; outliers ${was(labels.outliers)}`
    ]
  return metrics ? [`  ${port}, %`, ...metrics.map(metricLine)] : [head]
}

const taskLines = ({ task, changes, seconds, outputs }: TaskVariant) => [
  `${task} (${seconds.toFixed(1)} s)`,
  ...changes.map((change) => `  ${change}`),
  ...outputs.flatMap(outputLines)
]

/** How a variant differs from the run, and which tasks of it would follow. */
export const variantText = ({ folder, tasks, downstream }: Variant): string =>
  [
    ...tasks.flatMap(taskLines),
    "",
    ...(downstream.length === 0
      ? ["nothing else in the run would change"]
      : [
          `${count(downstream.length)} ${downstream.length === 1 ? "task" : "tasks"} of the run would change with it:`,
          wrapped(foldedNames(downstream), "  ")
        ]),
    `written to ${folder}`
  ].join("\n")
