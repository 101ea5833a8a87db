/** Two runs side by side: their settings, their scores, their artifacts, their pseudo labels. */
import { relative, resolve } from "node:path"
import { Effect } from "effect"
import { readLabels } from "#audit/artifact-readers.ts"
import type { OpenRun, RecordedFile } from "#audit/open-run.ts"
import { taskPlace } from "#audit/task-place.ts"
import { type ClusterAgreement, clusterAgreement } from "#model/cluster-agreement.ts"
import type { RunConfig } from "#pipeline/run-file.ts"
import { type ScoredRow, scoreRun } from "#pipeline/score.ts"

export interface SettingDifference {
  readonly key: string
  /** Undefined where the run has no such key. */
  readonly a: unknown
  readonly b: unknown
}

export interface ScoreDifference {
  readonly name: string
  readonly epoch: number
  readonly metric: string
  /** In percent; null where the run has not evaluated it. */
  readonly a: number | null
  readonly b: number | null
}

/** Of the artifacts of one stage and adaptation. */
export interface ArtifactDifference {
  readonly variant: string | null
  readonly stage: string
  readonly same: number
  readonly different: number
  readonly onlyA: number
  readonly onlyB: number
  /** The first file that differs. */
  readonly first: string | null
}

export interface LabelDifference extends ClusterAgreement {
  readonly variant: string | null
  readonly epoch: number
}

export interface Difference {
  readonly settings: ReadonlyArray<SettingDifference>
  readonly scores: ReadonlyArray<ScoreDifference>
  readonly artifacts: ReadonlyArray<ArtifactDifference>
  /** The pseudo labels of an epoch in the one run and in the other. */
  readonly labels: ReadonlyArray<LabelDifference>
  /** Within each run, those of an epoch and of the epoch before it. */
  readonly churn: { readonly a: ReadonlyArray<LabelDifference>; readonly b: ReadonlyArray<LabelDifference> }
}

/** Nested settings by dotted keys. */
const flat = (value: unknown, prefix = ""): ReadonlyArray<readonly [key: string, value: unknown]> =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.entries(value).flatMap(([key, inner]) => flat(inner, prefix === "" ? key : `${prefix}.${key}`))
    : [[prefix, value]]

const settingsOf = ({ folder, given: _, variants, branch, ...config }: RunConfig) =>
  new Map(
    flat({
      ...{ ...config, variants: Object.fromEntries(variants) },
      ...(branch ? { branch: `${branch.from} of ${branch.of}` } : {})
    }).map(([key, value]) => [
      key,
      // The same data set, seen from two folders.
      /^data\.\w+\.root$/.test(key) ? relative("", resolve(folder, String(value))) : value
    ])
  )

const settingDifferences = (a: RunConfig, b: RunConfig): ReadonlyArray<SettingDifference> => {
  const [one, other] = [settingsOf(a), settingsOf(b)]
  return [...new Set([...one.keys(), ...other.keys()])]
    .map((key) => ({ key, a: one.get(key), b: other.get(key) }))
    .filter((setting) => JSON.stringify(setting.a) !== JSON.stringify(setting.b))
}

const scoredRows = (run: OpenRun) =>
  scoreRun(run.config, run.folder).pipe(Effect.catchTag("NoScores", () => Effect.succeed<ReadonlyArray<ScoredRow>>([])))

const scoreDifferences = (a: ReadonlyArray<ScoredRow>, b: ReadonlyArray<ScoredRow>): ReadonlyArray<ScoreDifference> => {
  const keyOf = ({ name, epoch }: ScoredRow) => JSON.stringify([name, epoch])
  const [one, other] = [a, b].map((rows) => new Map(rows.map((row) => [keyOf(row), row])))
  const rows = new Map([...other!, ...one!])
  return [...rows].flatMap(([key, { name, epoch, mean }]) =>
    Object.keys(mean).map((metric) => ({
      name,
      epoch,
      metric,
      a: one!.get(key)?.mean[metric] ?? null,
      b: other!.get(key)?.mean[metric] ?? null
    }))
  )
}

const artifactDifferences = (a: OpenRun, b: OpenRun): ReadonlyArray<ArtifactDifference> => {
  const byPath = ({ files }: OpenRun) =>
    new Map(files.filter(({ port }) => !port.startsWith("tap ")).map((file) => [file.path, file]))
  const [one, other] = [byPath(a), byPath(b)]
  const groups = Map.groupBy(new Map([...one, ...other]).values(), ({ task }) => {
    const { variant, stage } = taskPlace(task)
    return JSON.stringify([variant, stage])
  })
  return [...groups].map(([group, files]) => {
    const [variant, stage] = JSON.parse(group) as [string | null, string]
    const states = Map.groupBy(files, ({ path }) => stateOf(one.get(path), other.get(path)))
    const count = (state: ReturnType<typeof stateOf>) => states.get(state)?.length ?? 0
    const first = states.get("different")?.[0]?.path ?? null
    return {
      ...{ variant, stage, same: count("same"), different: count("different") },
      ...{ onlyA: count("only a"), onlyB: count("only b"), first }
    }
  })
}

const stateOf = (a: RecordedFile | undefined, b: RecordedFile | undefined) =>
  b === undefined ? "only a" : a === undefined ? "only b" : a.sha256 === b.sha256 ? "same" : "different"

/** The files of pseudo labels by adaptation and epoch. */
const labelFiles = ({ files }: OpenRun) =>
  files
    .filter(({ port }) => port === "pseudo-labels")
    .map((file) => ({ file, variant: taskPlace(file.task).variant, epoch: taskPlace(file.task).epoch ?? 0 }))

/** Nothing where no image is labelled by both. */
const labelDifference = (
  variant: string | null,
  epoch: number,
  agreement: ClusterAgreement | undefined
): ReadonlyArray<LabelDifference> => (agreement ? [{ variant, epoch, ...agreement }] : [])

const labelDifferences = (a: OpenRun, b: OpenRun) =>
  Effect.gen(function* () {
    const others = labelFiles(b)
    const pairs = labelFiles(a).flatMap(({ file, variant, epoch }) => {
      const other = others.find((one) => one.variant === variant && one.epoch === epoch)
      return other ? [{ file, other: other.file, variant, epoch }] : []
    })
    const differences = yield* Effect.forEach(pairs, ({ file, other, variant, epoch }) =>
      Effect.gen(function* () {
        const agreement = clusterAgreement(yield* readLabels(a, file), yield* readLabels(b, other))
        return labelDifference(variant, epoch, agreement)
      })
    )
    return differences.flat()
  })

const epochChurn = (run: OpenRun) =>
  Effect.gen(function* () {
    const churn: Array<LabelDifference> = []
    for (const of of Map.groupBy(labelFiles(run), ({ variant }) => variant).values()) {
      let before: ReadonlyMap<string, number> | undefined
      for (const { file, variant, epoch } of of.sort((x, y) => x.epoch - y.epoch)) {
        const labels = yield* readLabels(run, file)
        if (before) churn.push(...labelDifference(variant, epoch, clusterAgreement(before, labels)))
        before = labels
      }
    }
    return churn
  })

/** Compares two runs by what their manifests and files say. */
export const diffRuns = (a: OpenRun, b: OpenRun) =>
  Effect.gen(function* () {
    return {
      settings: settingDifferences(a.config, b.config),
      scores: scoreDifferences(yield* scoredRows(a), yield* scoredRows(b)),
      artifacts: artifactDifferences(a, b),
      labels: yield* labelDifferences(a, b),
      churn: { a: yield* epochChurn(a), b: yield* epochChurn(b) }
    } satisfies Difference
  })
