/** The ablations: each row differs from MMT in what its name says, and scores over seeds are what they are called. */
import { isDeepStrictEqual } from "node:util"
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { ablationOf, ablationRows } from "#pipeline/ablation.ts"
import { parseRunFile } from "#pipeline/run-file.ts"
import type { ScoredRow } from "#pipeline/score.ts"

const data = "data: { source: { root: a }, target: { root: b } }\n"

/** The variants of a run file that has the rows of Table 2: of each, the keys in which it differs from `adapt`. */
const differences = async (text: string, classes?: ReadonlyArray<number>) => {
  const own = await Effect.runPromise(parseRunFile(data + text, "my.yaml"))
  const rows = await Effect.runPromise(ablationOf(own, classes))
  const { adapt, variants } = await Effect.runPromise(parseRunFile(data + text, "my.yaml", rows))
  return Object.fromEntries(
    variants.map(([name, settings]) => [
      name,
      Object.fromEntries(
        Object.entries(settings).filter(([key, value]) => !isDeepStrictEqual(value, adapt[key as keyof typeof adapt]))
      )
    ])
  )
}

const table2 = {
  baseline: { softIdentity: 0, softTriplet: 0, meanTeachers: false },
  "hard-labels-mean-teachers": { softIdentity: 0, softTriplet: 0 },
  "without-soft-triplet": { softTriplet: 0 },
  "without-mean-teaching": { softLabels: "students", meanTeachers: false },
  "only-soft-losses": { softIdentity: 1, softTriplet: 1 },
  "without-hard-identity": { softIdentity: 1 },
  "mmt-dbscan": { algorithm: "dbscan" }
}

describe("the rows of Table 2", () => {
  it("differ from MMT in what their names say", async () => {
    expect(await differences("")).toEqual({ ...table2, "mmt-700": { classes: 700 }, "mmt-900": { classes: 900 } })
  })

  it("have clusters in the paper's proportion, on data of any size", async () => {
    expect(await differences("adapt: { classes: 120 }")).toEqual({
      ...table2,
      "mmt-168": { classes: 168 },
      "mmt-216": { classes: 216 }
    })
  })

  it("have the clusters that are asked for, but not those of MMT again", async () => {
    expect(await differences("", [500, 50])).toEqual({ ...table2, "mmt-50": { classes: 50 } })
  })

  it("stand beside the run file's own variants, and are what they are called whatever the run file calls so", async () => {
    const own = "variants: { baseline: { momentum: 0.5 }, mmt-1000: { classes: 1000 }, wide: { pad: 20 } }"
    expect(await differences(own)).toEqual({ ...table2, "mmt-1000": { classes: 1000 }, wide: { pad: 20 } })
  })
})

describe("the table", () => {
  const row = (name: string, epoch: number, ...networks: ReadonlyArray<readonly [mAP: number, top1: number]>) => {
    const mean = (at: 0 | 1) => networks.reduce((sum, network) => sum + network[at], 0) / networks.length
    return {
      name,
      epoch,
      tasks: [],
      checkpoint: undefined,
      networks: networks.map(([mAP, top1]) => ({ mAP, "top-1": top1 })),
      mean: { mAP: mean(0), "top-1": mean(1) }
    } satisfies ScoredRow
  }
  const one = [
    row("source-only", 0, [10, 20], [12, 22]),
    row("mmt-7", 2, [30, 40], [30, 40]),
    row("baseline", 1, [50, 60], [40, 65]),
    row("baseline", 2, [20, 30], [30, 40]),
    row("mmt", 2, [70, 80], [72, 90])
  ]
  const two = one.map(({ name, epoch, networks }) =>
    row(name, epoch, ...networks.map((scores) => [scores.mAP + 8, scores["top-1"] + 2] as const))
  )

  it("has source only first and MMT with its clusters last", () => {
    expect(ablationRows([one]).map(({ name }) => name)).toEqual(["source-only", "baseline", "mmt", "mmt-7"])
  })

  it("has the mean of both networks after the last epoch, and the best network of all epochs", () => {
    const [, baseline] = ablationRows([one])
    const single = (value: number) => ({ mean: value, min: value, max: value, seeds: [value] })
    expect(baseline).toEqual({
      name: "baseline",
      last: { mAP: single(25), top1: single(35) },
      best: { mAP: single(50), top1: single(60) }
    })
  })

  it("has mean, lowest and highest over seeds", () => {
    const [source] = ablationRows([two, one])
    expect(source!.last.mAP).toEqual({ mean: 15, min: 11, max: 19, seeds: [19, 11] })
    expect(source!.best.top1).toEqual({ mean: 23, min: 22, max: 24, seeds: [24, 22] })
  })
})
