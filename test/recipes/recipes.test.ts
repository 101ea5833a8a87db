/** The recipes: each is the run that its name says, with the paper's settings and nothing beside them. */
import { readdirSync } from "node:fs"
import { join, resolve } from "node:path"
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { ablationOf } from "#pipeline/ablation.ts"
import { planTasks, scoreRows } from "#pipeline/plan.ts"
import { parseRunFile, type RunConfig, readRunFile } from "#pipeline/run-file.ts"

const folder = resolve("recipes")
const names = readdirSync(folder)
  .filter((file) => file.endsWith(".yaml") && file !== "table-2.yaml")
  .map((file) => file.replace(".yaml", ""))

const recipe = (name: string): Promise<RunConfig> => Effect.runPromise(readRunFile(join(folder, `${name}.yaml`)))

const sets: Readonly<Record<string, object>> = {
  market: { format: "market1501", root: "../datasets/Market-1501-v15.09.15" },
  duke: { format: "dukemtmc-reid", root: "../datasets/DukeMTMC-reID" },
  msmt: { format: "msmt17", root: "../datasets/MSMT17_V1" }
}

const backbones = {
  "": { backbone: "resnet-50", weights: "../weights/resnet50-0676ba61.pth" },
  "-ibn": { backbone: "resnet-50-ibn-a", weights: "../weights/resnet50_ibn_a-d9d0bb7b.pth" }
} as const

const clusters = (target: string) => {
  const counts = target === "msmt" ? [1000, 1500, 2000] : [700, 900]
  return {
    ...Object.fromEntries(counts.map((classes) => [`mmt-${classes}`, { classes }])),
    "mmt-dbscan": { algorithm: "dbscan" }
  }
}

const table2 = {
  baseline: { softIdentity: 0, softTriplet: 0, meanTeachers: false },
  "hard-labels-mean-teachers": { softIdentity: 0, softTriplet: 0 },
  "without-soft-triplet": { softTriplet: 0 },
  "without-mean-teaching": { softLabels: "students", meanTeachers: false },
  "only-soft-losses": { softIdentity: 1, softTriplet: 1 },
  "without-hard-identity": { softIdentity: 1 }
}

/** The run of a name, written out; whatever is not here is a default. */
const spelledOut = (name: string) => {
  const [, source, target, backbone, ablation] =
    /^(?:(duke|market)-to-)?(market|duke|msmt)(?:-unsupervised)?(-ibn)?(-table-2)?$/.exec(name)!
  return {
    data: { ...(source ? { source: sets[source] } : {}), target: sets[target!] },
    model: { ...backbones[(backbone ?? "") as keyof typeof backbones], samplesPerBatchNorm: 16 },
    adapt: { iterations: 800 },
    variants: { ...clusters(target!), ...(ablation ? table2 : {}) }
  }
}

/** All that a run is made by, whatever its files; variants in the order of their names. */
const settings = ({ given: _, variants, ...run }: RunConfig) => ({ ...run, variants: Object.fromEntries(variants) })

const tasks = ["duke-to-market", "market-to-duke", "market-to-msmt", "duke-to-msmt"]
const targets = ["market", "duke", "msmt"]

describe("the recipes", () => {
  it("are the paper's tasks and ablations by both backbones, the unsupervised ones, and the quickstart's", () => {
    const backbone = (name: string) => [name, `${name}-ibn`]
    expect([...names].sort()).toEqual(
      [
        ...tasks.flatMap(backbone),
        ...["duke-to-market", "market-to-duke"].flatMap(backbone).map((name) => `${name}-table-2`),
        ...targets.map((target) => `${target}-unsupervised`).flatMap(backbone),
        "quickstart",
        "quickstart-ablation"
      ].sort()
    )
  })

  it.each(names.filter((name) => !name.startsWith("quickstart")))("%s is what its name says", async (name) => {
    const run = await recipe(name)
    const expected = await Effect.runPromise(
      parseRunFile(JSON.stringify(spelledOut(name)), join(folder, `${name}.yaml`))
    )
    expect(settings(run)).toEqual(settings(expected))
    expect(run.name).toBe(name)
  })

  it.each(names)("%s can be planned", async (name) => {
    const run = await recipe(name)
    expect(planTasks(run).length).toBeGreaterThan(run.adapt.epochs)
    expect(scoreRows(run).at(-1)).toMatchObject({ name: "mmt", epoch: run.adapt.epochs })
  })

  it("of Table 2 are what mmt ablate makes of the task's own recipe", async () => {
    const own = await recipe("duke-to-market")
    const file = join(folder, "duke-to-market.yaml")
    const rows = await Effect.runPromise(ablationOf(own))
    const ablated = await Effect.runPromise(readRunFile(file, rows))
    const { variants } = settings(await recipe("duke-to-market-table-2"))
    expect(settings(ablated).variants).toEqual(variants)
  })

  it("of the quickstart differ in how often they evaluate, and in DBSCAN", async () => {
    const [own, ablation] = await Promise.all([recipe("quickstart"), recipe("quickstart-ablation")])
    expect(settings(ablation)).toEqual({
      ...settings(own),
      name: "quickstart-ablation",
      evaluate: { ...own.evaluate, every: 5 },
      adapt: { ...own.adapt, k1: 20, eps: 0.5 },
      variants: { baseline: { ...own.adapt, k1: 20, eps: 0.5, ...table2.baseline } }
    })
  })
})
