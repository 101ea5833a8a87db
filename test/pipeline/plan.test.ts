/** The plan of a run: which tasks there are, in which order, and where each takes its inputs from. */
import { Effect } from "effect"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { planTasks, type ScoreRow, scoreRows } from "#pipeline/plan.ts"
import { parseRunFile, type RunConfig } from "#pipeline/run-file.ts"
import type { Port } from "#pipeline/stage.ts"
import { stageOf } from "#pipeline/stages.ts"
import { wholeParams } from "#pipeline/state.ts"
import type { Task } from "#pipeline/task-plan.ts"

const data = "data: { source: { root: a }, target: { root: b } }\n"
const config = (text = ""): RunConfig => Effect.runSync(parseRunFile(data + text, "/runs/plan.yaml"))
const baseline = "variants: { baseline: { softIdentity: 0, softTriplet: 0, meanTeachers: false } }"

const chain = (task: Task) => task.steps.map(({ stage }) => stage).join(" → ")
const portsOf = (task: Task) => stageOf(task.steps.at(-1)!.stage).outputs as Readonly<Record<string, Port>>

/** All that holds for the plan of any run. */
const expectSound = (run: RunConfig) => {
  const tasks = planTasks(run)
  const before = new Map<string, Task>()
  for (const task of tasks) {
    expect(before.has(task.id), `${task.id} is there once`).toBe(false)
    for (const step of task.steps) {
      expect(Effect.runSync(wholeParams(step)), `${task.id}: parameters of ${step.stage}`).toMatchObject(
        step.local ?? {}
      )
      const ports = stageOf(step.stage).inputs as Readonly<Record<string, Port>>
      for (const [port, sources] of Object.entries(step.inputs)) {
        expect(ports, `${task.id}: ${step.stage} has the port`).toHaveProperty([port])
        // A student that is not trained has no batches.
        if (port !== "batches") expect(sources.length).toBeGreaterThan(0)
        for (const source of sources) {
          const maker = before.get(source.task)
          expect(maker, `${task.id} takes ${source.task}, which comes before it`).toBeDefined()
          expect(portsOf(maker!)[source.port]?.artifact.name).toBe(ports[port]!.artifact.name)
        }
      }
    }
    expectFed(task)
    before.set(task.id, task)
  }
  for (const row of scoreRows(run)) expectScored(row, before)
}

/** Every required port of every step gets something: a named source, or what the step before it gives. */
const expectFed = (task: Task) => {
  for (const [i, step] of task.steps.entries()) {
    const given = i === 0 ? {} : stageOf(task.steps[i - 1]!.stage).outputs
    for (const [name, { optional }] of Object.entries(stageOf(step.stage).inputs as Record<string, Port>))
      if (!optional) expect({ ...given, ...step.inputs }, `${task.id}: ${step.stage}.${name}`).toHaveProperty([name])
  }
}

const expectScored = ({ tasks }: ScoreRow, planned: ReadonlyMap<string, Task>) => {
  expect(tasks).toHaveLength(2)
  for (const id of tasks) expect(chain(planned.get(id)!)).toBe("evaluate")
}

describe("a plan without pre-training", () => {
  const ids = (run: RunConfig) => planTasks(run).map(({ id }) => id)
  const start = (run: RunConfig) => planTasks(run).filter(({ phase }) => phase === "start" || phase === "pretrain")
  const target = "data: { target: { root: b } }\n"
  const of = (text: string) => Effect.runSync(parseRunFile(text, "/runs/plan.yaml"))

  it("starts from drawn students where there is no source, and scores nothing before adaptation", () => {
    const run = of(target)
    expectSound(run)
    expect(start(run).map(({ id }) => id)).toEqual(["start/student-1", "start/student-2"])
    expect(start(run)[0]!.steps[0]).toMatchObject({ stage: "train-step", local: {}, inputs: { batches: [] } })
    expect(ids(run).filter((id) => /source/.test(id))).toEqual([])
    expect(scoreRows(run)[0]).toMatchObject({ name: "mmt", epoch: 1 })
    const embed = planTasks(run).find(({ id }) => id === "embed/epoch-001/target-train")!.steps[0]!
    expect(embed.inputs.checkpoint).toEqual([
      { task: "start/student-1", port: "checkpoint" },
      { task: "start/student-2", port: "checkpoint" }
    ])
  })

  it("starts from model.weights, with another seed for each student, whose architecture does not know of them", () => {
    const run = of(`${target}model: { backbone: resnet-50, weights: ../w/a.pth }`)
    expectSound(run)
    const steps = start(run).map((task) => task.steps[0]!)
    expect(steps.map(({ local }) => local)).toEqual([{ weights: ["/w/a.pth"] }, { weights: ["/w/a.pth"] }])
    const initial = steps.map(({ params }) => params.initial as { model: unknown; seed: number })
    expect(initial.map(({ model }) => model)).toEqual([{ backbone: "resnet-50" }, { backbone: "resnet-50" }])
    expect(initial[0]!.seed).not.toBe(initial[1]!.seed)
  })

  it("starts from pretrain.checkpoints, one each, and scores them as direct transfer without reading a source", () => {
    const run = of(
      `${data}pretrain: { checkpoints: [a.pth, /b.safetensors] }\nmodel: { backbone: resnet-50, weights: w.pth }`
    )
    expectSound(run)
    expect(start(run).map((task) => task.steps[0]!.local)).toEqual([
      { weights: ["/runs/a.pth"] },
      { weights: ["/b.safetensors"] }
    ])
    expect(ids(run)).not.toContain("decode/source-train")
    expect(scoreRows(run)[0]).toMatchObject({ name: "source-only", epoch: 0 })
  })

  it("pre-trains from model.weights where there is a source: in the first epoch alone", () => {
    const run = of(`${data}model: { backbone: resnet-50, weights: w.pth }`)
    expectSound(run)
    const withWeights = start(run).filter(({ steps }) => steps.some(({ local }) => local?.weights))
    expect(withWeights.map(({ id }) => id)).toEqual(["pretrain/student-1/epoch-001", "pretrain/student-2/epoch-001"])
    expect(ids(run)).toContain("decode/source-train")
  })
})

describe("any plan", () => {
  const small = fc.integer({ min: 1, max: 5 })
  const runs = fc.record({
    pretrain: small,
    adapt: small,
    every: small,
    meanTeachers: fc.boolean(),
    clustering: fc.constantFrom(
      {},
      ...[{}, { eps: "auto" }, { epsGap: 0.02 }].map((how) => ({ algorithm: "dbscan", ...how }))
    ),
    variants: fc.dictionary(fc.stringMatching(/^v[a-z0-9-]{0,4}$/), fc.record({ epochs: small }), { maxKeys: 3 })
  })

  it("takes every input from a port of an earlier task", () => {
    fc.assert(
      fc.property(runs, ({ pretrain, adapt, every, meanTeachers, clustering, variants }) => {
        const soft = meanTeachers ? {} : { softIdentity: 0, softTriplet: 0 }
        const text = JSON.stringify({
          data: { source: { root: "a" }, target: { root: "b" } },
          pretrain: { epochs: pretrain },
          adapt: { epochs: adapt, meanTeachers, ...clustering, ...soft },
          evaluate: { every },
          variants
        })
        const run = Effect.runSync(parseRunFile(text, "any.yaml"))
        expectSound(run)
        const rows = scoreRows(run).filter(({ name }) => name === "mmt")
        expect(rows.map(({ epoch }) => epoch)).toEqual(
          Array.from({ length: adapt }, (_, i) => i + 1).filter((epoch) => epoch % every === 0 || epoch === adapt)
        )
      }),
      { numRuns: 60 }
    )
  })

  it("is the same each time", () => {
    expect(planTasks(config(baseline))).toEqual(planTasks(config(baseline)))
  })
})

describe("the plan for a target without labels", () => {
  const folder = (text = "") =>
    Effect.runSync(
      parseRunFile(
        `data: { source: { root: a }, target: { format: folder, root: b, cameraPattern: "(?<camera>c)" } }\n${text}`,
        "/runs/plan.yaml"
      )
    )

  it("is that of a labelled one without all that is for scores", () => {
    const run = folder(baseline)
    expectSound(run)
    const unlike = (id: string) => /(^|\/)evaluate\/|(query|gallery)$/.test(id)
    expect(planTasks(run).map(({ id }) => id)).toEqual(
      planTasks(config(baseline))
        .map(({ id }) => id)
        .filter((id) => !unlike(id))
    )
    expect(scoreRows(run)).toEqual([])
  })

  it("decodes by the pattern of the cameras, which no other target's decoding has", () => {
    const decode = (run: RunConfig) => planTasks(run).find(({ id }) => id === "decode/target-train")!.steps[0]!
    expect(decode(folder()).params).toEqual({
      format: "folder",
      cameraPattern: "(?<camera>c)",
      split: "train",
      height: 256,
      width: 128
    })
    expect(decode(folder()).local).toEqual({ root: "/runs/b" })
    expect(decode(config()).params).toEqual({ format: "market1501", split: "train", height: 256, width: 128 })
  })
})

describe("the plan of a branch", () => {
  const branch = (before: string, own: string, from: string) =>
    config(`${own}\nbranch: { of: plan, from: ${from}, before: { ${data.trim()}, ${before} } }`)
  const stepsOf = (run: RunConfig) => new Map(planTasks(run).map(({ id, steps }) => [id, steps]))

  it("is by the run's settings before the point and by its own from there on", () => {
    const run = branch(
      "adapt: { epochs: 4, classes: 5, momentum: 0.9 }",
      "adapt: { epochs: 5, classes: 6, momentum: 0.5 }",
      "train-step@3"
    )
    expectSound(run)
    const of = (id: string) => stepsOf(run).get(id)!
    expect(of("cluster/epoch-003")[0]!.params).toMatchObject({ classes: 5 })
    expect(of("cluster/epoch-004")[0]!.params).toMatchObject({ classes: 6 })
    expect(of("train/epoch-002")[2]!.params).toMatchObject({ momentum: 0.9 })
    expect(of("train/epoch-003")[2]!.params).toMatchObject({ momentum: 0.5 })
    expect(of("train/epoch-005")).toBeDefined()
    expect(scoreRows(run).map(({ epoch }) => epoch)).toEqual([0, 1, 2, 3, 4, 5])
  })

  it("evaluates as it says from an evaluation on, and what was evaluated before stays", () => {
    const run = branch("adapt: { epochs: 3 }", "adapt: { epochs: 3 }\nevaluate: { every: 3, ranks: [1] }", "evaluate@2")
    expectSound(run)
    expect(stepsOf(run).get("evaluate/epoch-001/teacher-1")![0]!.params).toMatchObject({ ranks: [1, 5, 10] })
    expect(stepsOf(run).has("evaluate/epoch-002/teacher-1")).toBe(false)
    expect(stepsOf(run).get("evaluate/epoch-003/teacher-1")![0]!.params).toMatchObject({ ranks: [1] })
    expect(scoreRows(run).map(({ epoch }) => epoch)).toEqual([0, 1, 3])
  })

  it("of one adaptation leaves the others as they were, and makes a new variant whole", () => {
    const run = branch(
      `adapt: { epochs: 2 }, ${baseline}`,
      "adapt: { epochs: 2, iterations: 7 }\nvariants: { baseline: { softIdentity: 0, softTriplet: 0, meanTeachers: false }, new: {} }",
      "baseline/augment@2"
    )
    expectSound(run)
    const iterations = (id: string) => stepsOf(run).get(id)![0]!.params.iterations
    expect(iterations("baseline/train/epoch-001")).toBe(400)
    expect(iterations("baseline/train/epoch-002")).toBe(7)
    expect(iterations("train/epoch-002")).toBe(400)
    expect(iterations("new/train/epoch-001")).toBe(7)
  })

  it("of the pre-training makes all adaptations by its own settings", () => {
    const run = branch(
      "adapt: { classes: 5 }",
      "adapt: { classes: 6 }\npretrain: { learningRate: 1 }",
      "pretrain/train-step@5"
    )
    expectSound(run)
    const base = (epoch: string) =>
      (stepsOf(run).get(`pretrain/student-2/${epoch}`)![1]!.params.schedule as { base: number }).base
    expect([base("epoch-004"), base("epoch-005")]).toEqual([3.5e-4, 1])
    expect(stepsOf(run).get("cluster/epoch-001")![0]!.params).toMatchObject({ classes: 6 })
  })

  it("is sound at any point of any run, and by a run's own settings it is that run's plan", () => {
    const stages = fc.constantFrom("embed", "cluster", "augment", "train-step", "ema-update", "evaluate")
    const point = fc.tuple(
      fc.constantFrom("", "mmt/", "baseline/", "pretrain/"),
      stages,
      fc.integer({ min: 1, max: 6 })
    )
    const settings = fc.record({
      epochs: fc.integer({ min: 1, max: 6 }),
      every: fc.integer({ min: 1, max: 3 }),
      algorithm: fc.constantFrom("kmeans", "dbscan")
    })
    const text = (
      { epochs, every, algorithm }: { epochs: number; every: number; algorithm: string },
      between: string
    ) =>
      [
        `adapt: { epochs: ${epochs}, algorithm: ${algorithm}, eps: auto }`,
        `evaluate: { every: ${every} }`,
        baseline
      ].join(between)
    fc.assert(
      fc.property(point, settings, settings, ([phase, stage, epoch], before, own) => {
        const from = `${phase}${stage}@${epoch}`
        const longer = { ...own, epochs: Math.max(own.epochs, epoch), algorithm: before.algorithm }
        expectSound(branch(text({ ...before, epochs: Math.max(before.epochs, epoch) }, ", "), text(longer, "\n"), from))
        const same = planTasks(config(text(own, "\n"))).map(({ id, steps }) => [id, steps] as const)
        expect(stepsOf(branch(text(own, ", "), text(own, "\n"), from))).toEqual(new Map(same))
      }),
      { numRuns: 40 }
    )
  })

  it("is read with the key that is wrong in it", () => {
    const wrong = (text: string) => Effect.runSync(Effect.flip(parseRunFile(data + text, "/runs/plan.yaml"))).message
    const before = `before: { ${data.trim()} }`
    for (const from of ["cluster", "decode@1", "cluster@0", "clusters@1"])
      expect(wrong(`branch: { of: a, from: ${from}, ${before} }`)).toBe(
        `/runs/plan.yaml: key "branch.from": expected STAGE@EPOCH, as cluster@3, found ${from}`
      )
    expect(wrong(`branch: { of: a, from: cluster@1, before: { ${data.trim()}, adapt: { classes: x } } }`)).toMatch(
      /^\/runs\/plan.yaml: key "branch.before.adapt.classes": expected .*, found "x"$/
    )
  })
})

describe("the paper's plan", () => {
  const tasks = planTasks(config(baseline))
  const count = (pattern: RegExp) => tasks.filter(({ id }) => pattern.test(id)).length

  it("has 4 decodings, 2 × 80 epochs of pre-training and 40 epochs of each adaptation", () => {
    expect(count(/^decode\//)).toBe(4)
    expect(count(/^pretrain\/student-[12]\/epoch-\d{3}$/)).toBe(160)
    for (const folder of ["", "baseline/"]) {
      expect(count(new RegExp(`^${folder}cluster/epoch-\\d{3}$`))).toBe(40)
      expect(count(new RegExp(`^${folder}train/epoch-\\d{3}$`))).toBe(40)
      expect(count(new RegExp(`^${folder}embed/epoch-\\d{3}/target-train$`))).toBe(40)
      expect(count(new RegExp(`^${folder}evaluate/epoch-\\d{3}/[a-z]+-[12]$`))).toBe(80)
    }
    // Of each adaptation and epoch: embed, cluster, train, and for 2 networks 2 embeddings and a score.
    expect(tasks).toHaveLength(4 + 160 + 2 * 3 + 2 * 40 * (3 + 2 * 3))
  })

  it("evaluates every tenth epoch and the last, if asked", () => {
    const epochs = scoreRows(config("evaluate: { every: 15 }"))
      .filter(({ name }) => name === "mmt")
      .map(({ epoch }) => epoch)
    expect(epochs).toEqual([15, 30, 40])
  })

  it("chains augmentation, training and teachers' updates in one task", () => {
    const of = (id: string) => chain(tasks.find((task) => task.id === id)!)
    expect(of("pretrain/student-1/epoch-001")).toBe("augment → train-step")
    expect(of("train/epoch-040")).toBe("augment → train-step → ema-update")
    expect(of("baseline/train/epoch-040")).toBe("augment → train-step")
  })

  it("has no mean teachers in the baseline, whose students are clustered and evaluated", () => {
    const own = tasks.filter(({ id }) => id.startsWith("baseline/"))
    expect(own.flatMap(({ steps }) => steps).filter(({ stage }) => stage === "ema-update")).toEqual([])
    expect(own.filter(({ id }) => id.includes("teacher"))).toEqual([])
    const embedding = own.find(({ id }) => id === "baseline/embed/epoch-002/target-train")!.steps[0]!
    expect(embedding.params.networks).toEqual(["student-1", "student-2"])
  })

  it("clusters by the students first and by the teachers from the second epoch on", () => {
    const step = (epoch: string) => tasks.find(({ id }) => id === `embed/${epoch}/target-train`)!.steps[0]!
    expect(step("epoch-001").params.networks).toEqual(["student-1", "student-2"])
    expect(step("epoch-001").inputs.checkpoint).toEqual([
      { task: "pretrain/student-1/epoch-080", port: "checkpoint" },
      { task: "pretrain/student-2/epoch-080", port: "checkpoint" }
    ])
    expect(step("epoch-002").params.networks).toEqual(["teacher-1", "teacher-2"])
    expect(step("epoch-002").inputs.checkpoint).toEqual([{ task: "train/epoch-001", port: "checkpoint" }])
  })

  it("never reads the target's own labels in training", () => {
    const training = tasks.filter(({ id }) => /(^|\/)train\/epoch/.test(id))
    for (const { steps } of training) expect(steps[0]!.inputs).toHaveProperty("pseudo-labels")
  })

  it("weighs the losses as λ says, and those of the pre-training as supervised", () => {
    const weights = (id: string) => {
      const step = tasks.find((task) => task.id === id)!.steps.find(({ stage }) => stage === "train-step")!
      return (step.params.loss as { weights: Record<string, number> }).weights
    }
    expect(weights("train/epoch-001").identity).toBe(0.5)
    expect(weights("train/epoch-001").triplet).toBeCloseTo(0.2, 12)
    expect(weights("train/epoch-001")).toMatchObject({ softIdentity: 0.5, softTriplet: 0.8 })
    expect(weights("baseline/train/epoch-001")).toEqual({ identity: 1, triplet: 1, softIdentity: 0, softTriplet: 0 })
    expect(weights("pretrain/student-2/epoch-080")).toEqual({
      identity: 1,
      triplet: 1,
      softIdentity: 0,
      softTriplet: 0
    })
  })

  it("takes the soft labels from where the run file says, without mean teachers from the students", () => {
    const own = planTasks(config("adapt: { softLabels: students, meanTeachers: false }"))
    const train = own.find(({ id }) => id === "train/epoch-001")!
    expect(chain(train)).toBe("augment → train-step")
    expect(train.steps[1]!.params).toMatchObject({ meanTeachers: false, loss: { softLabels: "students" } })
    expect(own.filter(({ id }) => id.includes("teacher"))).toEqual([])
  })

  it("updates mean teachers of students that learn from hard labels alone", () => {
    const own = planTasks(config("adapt: { softIdentity: 0, softTriplet: 0 }"))
    expect(chain(own.find(({ id }) => id === "train/epoch-001")!)).toBe("augment → train-step → ema-update")
    expect(own.some(({ id }) => id === "evaluate/epoch-001/teacher-2")).toBe(true)
  })

  it("gives the cluster stage the settings of its algorithm alone", () => {
    const params = (text: string, epoch = "001") =>
      planTasks(config(text)).find(({ id }) => id === `cluster/epoch-${epoch}`)!.steps[0]!
    expect(params("adapt: { eps: 0.5 }").params).toEqual({
      ...{ algorithm: "kmeans", classes: 500, tolerance: 1e-4, seed: expect.any(Number) }
    })
    const dbscan = { algorithm: "dbscan", eps: 0.5, minSamples: 4, k1: 30, k2: 6, encoding: "openunreid", epsGap: 0 }
    expect(params("adapt: { algorithm: dbscan, eps: 0.5 }").params).toEqual(dbscan)
  })

  it("hands the first epoch's clusters to the later ones where they keep something of them", () => {
    const inputs = (text: string, epoch: string) =>
      planTasks(config(text)).find(({ id }) => id === `cluster/epoch-${epoch}`)!.steps[0]!.inputs
    for (const how of ["eps: auto", "epsGap: 0.02"]) {
      const text = `adapt: { algorithm: dbscan, ${how} }`
      expect(inputs(text, "001")).not.toHaveProperty("first-pseudo-labels")
      for (const epoch of ["002", "040"])
        expect(inputs(text, epoch)["first-pseudo-labels"]).toEqual([
          { task: "cluster/epoch-001", port: "pseudo-labels" }
        ])
    }
    expect(inputs("adapt: { algorithm: dbscan }", "002")).not.toHaveProperty("first-pseudo-labels")
  })

  it("re-ranks where the run file says so", () => {
    const params = (text: string) =>
      planTasks(config(text)).find(({ id }) => id === "evaluate/epoch-001/teacher-1")!.steps[0]!.params
    expect(params("evaluate: { k1: 9 }")).toEqual({ ranks: [1, 5, 10], depth: 10, rerank: false })
    const { rerank, encoding, k1, k2, lambda } = params("evaluate: { rerank: true, encoding: official, k1: 9 }")
    expect([rerank, encoding, k1, k2, lambda]).toEqual([true, "official", 9, 6, 0.3])
  })

  it("moves the mean teachers as the run file says", () => {
    const text = "adapt: { teacherUpdate: before-forward, momentumWarmup: false, momentum: 0.99 }"
    const train = planTasks(config(text)).find(({ id }) => id === "train/epoch-002")!
    expect(train.steps[2]!.params).toMatchObject({ when: "before-forward", warmup: false, momentum: 0.99 })
  })

  it("starts the two students from different seeds, and every seed follows from the run's", () => {
    const seeds = (run: RunConfig) =>
      planTasks(run)
        .flatMap(({ steps }) => steps)
        .flatMap(({ params }) => (params.seed === undefined ? [] : [params.seed]))
    const initial = tasks.filter(({ id }) => /^pretrain\/.*epoch-001$/.test(id)).map(({ steps }) => steps[1]!.params)
    expect(new Set(initial.map((params) => (params.initial as { seed: number }).seed)).size).toBe(2)
    const other = seeds(config("seed: 2"))
    expect(seeds(config("seed: 1")).filter((seed) => other.includes(seed))).toEqual([])
  })

  it("counts the learning rate's schedule in epochs of each phase", () => {
    const text = `pretrain: { milestoneFactor: 0.3 }
adapt: { learningRate: 0.001, warmupEpochs: 2, milestones: [20], milestoneFactor: 0.5 }`
    const schedule = (id: string) => planTasks(config(text)).find((task) => task.id === id)!.steps[1]!.params.schedule
    expect(schedule("train/epoch-030")).toEqual({ base: 0.001, warmupEpochs: 2, milestones: [20], factor: 0.5 })
    expect(schedule("pretrain/student-1/epoch-001")).toEqual({
      base: 3.5e-4,
      warmupEpochs: 10,
      milestones: [40, 70],
      factor: 0.3
    })
  })

  it("augments with colour jitter and blur where the run file has them, and says nothing of them elsewhere", () => {
    const params = (id: string, text: string) =>
      planTasks(config(text)).find((task) => task.id === id)!.steps[0]!.params
    expect(params("train/epoch-001", "adapt: { blur: {} }").blur).toEqual({ probability: 0.5, sigma: [0.1, 2] })
    expect(params("train/epoch-001", "adapt: { blur: {} }")).not.toHaveProperty("colorJitter")
    expect(params("pretrain/student-1/epoch-001", "adapt: { blur: {} }")).not.toHaveProperty("blur")
  })

  it("gives training a seed where the model has dropout", () => {
    const seeds = (text: string) =>
      planTasks(config(text))
        .flatMap(({ steps }) => steps)
        .filter(({ stage }) => stage === "train-step")
        .map(({ params }) => params.seed)
    expect(new Set(seeds(""))).toEqual(new Set([undefined]))
    const drawn = seeds("model: { backbone: resnet-50, embedding: 512, dropout: 0.5 }")
    // One of each student's pre-training, and one of the adaptation.
    expect(new Set(drawn).size).toBe(3)
    expect(drawn).not.toContain(undefined)
  })

  it("puts the data's place into parameters of the machine, which make no task stale", () => {
    const decode = planTasks(config())[0]!.steps[0]!
    expect(decode.params).not.toHaveProperty("root")
    expect(decode.local).toEqual({ root: "/runs/a" })
  })

  it("shows source only first, then the variants, then MMT", () => {
    expect([...new Set(scoreRows(config(baseline)).map(({ name }) => name))]).toEqual([
      "source-only",
      "baseline",
      "mmt"
    ])
  })
})
