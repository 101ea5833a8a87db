/** The audit of a small run: it passes as it is, and every kind of damage is named by file, row and column. */
import { openSync, readFileSync, readSync, rmSync, writeSync } from "node:fs"
import { join } from "node:path"
import { type RecordBatch, tableFromIPC } from "apache-arrow"
import { Effect, Result } from "effect"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { auditRun, type Checked } from "#audit/audit.ts"
import { openRun } from "#audit/open-run.ts"
import { random } from "#data/random.ts"
import { type Artifact, batchOf, type Columns, metadataOf, type View, viewOf } from "#schemas/artifact.ts"
import { artifacts } from "#schemas/artifacts.ts"
import { batches } from "#schemas/batches.ts"
import { checkpoint } from "#schemas/checkpoint.ts"
import { float32 } from "#schemas/column.ts"
import { embeddings } from "#schemas/embeddings.ts"
import { metrics, ranking } from "#schemas/metrics.ts"
import { centroids, pseudoLabels } from "#schemas/pseudo-labels.ts"
import { teacherUpdates } from "#schemas/teacher-updates.ts"
import { trainMetrics } from "#schemas/train-metrics.ts"
import { digests, mmt, startedTasks } from "../commands/mmt.ts"
import { questions } from "./questions.ts"
import { copyOf, editManifest, forge, makeSmallRun } from "./small-run.ts"

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

let home: string
beforeAll(async () => {
  home = await makeSmallRun()
})
afterAll(() => rmSync(home, { recursive: true, force: true }))

const audit = (folder: string): Promise<ReadonlyArray<Checked>> =>
  Effect.runPromise(
    Effect.flatMap(openRun(folder), (run) =>
      auditRun(
        run,
        () => () => {},
        () => {}
      )
    )
  )

/** The violations of each check that failed. */
const violationsOf = async (folder: string) =>
  Object.fromEntries(
    (await audit(folder))
      .filter(({ violationCount }) => violationCount > 0)
      .map(({ name, violations }) => [name, violations])
  )

/** A batch of an artifact with its columns changed; other columns and the metadata stay. */
const withView = <C extends Columns, M>(
  artifact: Artifact<string, C, M>,
  batch: RecordBatch,
  change: (view: View<C>) => Partial<View<C>>
) => {
  const view = viewOf(artifact, batch)
  const extra = batch.schema.names.map(String).filter((name) => !(name in artifact.columns))
  return batchOf(artifact, { ...view, ...change(view) }, Result.getOrThrow(metadataOf(artifact, batch, "test")), {
    columns: Object.fromEntries(extra.map((name) => [name, float32])),
    view: Object.fromEntries(extra.map((name) => [name, batch.getChild(name)!.data[0]!.values])),
    perBatch: Object.fromEntries(batch.metadata)
  })
}

const setAt = <A extends { slice: () => A; [index: number]: number }>(values: A, at: number, value: number): A => {
  const copy = values.slice()
  copy[at] = value
  return copy
}

describe("the audit of a run that nobody touched", () => {
  it("passes every check, with the tapped batches and updates compared", async () => {
    const outcomes = await audit(join(home, "runs/small"))
    expect(outcomes.filter(({ violationCount }) => violationCount > 0)).toEqual([])
    const checked = Object.fromEntries(outcomes.map(({ name, checked }) => [name, checked]))
    // 36 training images, 2 epochs of 3 iterations, and 2 of pre-training for each student.
    expect(checked).toMatchObject({ "pseudo labels": 72, batches: 10, losses: 10, "rankings and metrics": 20 })
    const notes = Object.fromEntries(outcomes.map(({ name, note }) => [name, note]))
    expect(notes.batches).toMatch(/^tapped batches of 4 epochs compared/)
    expect(notes["mean teachers"]).toMatch(
      /^shows a change of any one value by 0\.000\d+ or more; 4 tapped updates compared/
    )
  })
})

describe("the tap", () => {
  it("keeps the chosen iterations, and changes no other byte of the run", async () => {
    const tapped = digests(join(home, "runs/small"))
    const ofTap = (path: string) => path.includes("/tap/")
    const trained = [
      "pretrain/student-1/epoch-001",
      "pretrain/student-2/epoch-001",
      "train/epoch-001",
      "train/epoch-002"
    ]
    const kept = trained.flatMap((task) => [`${task}/tap/batches.arrow`, `${task}/tap/networks.arrow`])
    expect(Object.keys(tapped).filter(ofTap)).toEqual(kept)
    // Two of them anew, without a tap.
    const again = copyOf(home)
    for (const task of [trained[0]!, trained[2]!]) rmSync(join(again, task), { recursive: true })
    const { code, err } = await mmt(home, "run", "small.yaml", "--out", again, "--set", "audit.tap=[]")
    expect(code, err).toBe(0)
    expect(startedTasks(again).slice(-2)).toEqual([trained[0], trained[2]])
    const left = Object.entries(tapped).filter(
      ([path]) => !ofTap(path) || path.startsWith(trained[1]!) || path.startsWith(trained[3]!)
    )
    expect(digests(again)).toEqual(Object.fromEntries(left))
    const iterations = tableFromIPC(readFileSync(join(home, "runs/small", tappedBatches))).batches.map(({ metadata }) =>
      metadata.get("iteration")
    )
    expect(iterations).toEqual(["0", "2"])
  })

  it("may be removed: the tasks stay done", async () => {
    const folder = copyOf(home)
    rmSync(join(folder, "train/epoch-001/tap"), { recursive: true })
    expect((await mmt(home, "plan", "small.yaml", "--out", folder)).out).toMatch(/\n24 of 24 tasks done in /)
  })
})

questions(() => home)

describe("one flipped bit", () => {
  it("is named for every kind of artifact", async () => {
    const folder = copyOf(home)
    const { files } = await Effect.runPromise(openRun(folder))
    const damaged = [
      ...Map.groupBy(files, ({ artifact, port }) => (port.startsWith("tap") ? port : artifact)).values()
    ].map((of, kind) => of[random(7, kind).int(of.length)]!)
    const kinds = new Set(damaged.map(({ artifact }) => artifact))
    expect([...kinds].sort()).toEqual(artifacts.map(({ name }) => name).sort())
    for (const { path, bytes } of damaged) {
      const draw = random(8, path)
      const file = openSync(join(folder, path), "r+")
      const byte = Buffer.alloc(1)
      const at = draw.int(bytes)
      readSync(file, byte, 0, 1, at)
      byte[0]! ^= 1 << draw.int(8)
      writeSync(file, byte, 0, 1, at)
    }
    const { checksums } = await violationsOf(folder)
    expect(checksums!.map(({ file }) => file).sort()).toEqual(damaged.map(({ path }) => path).sort())
    expect(new Set(checksums!.map(({ problem }) => problem))).toEqual(new Set(["was changed"]))
  })
})

const teacherCheckpoint = "train/epoch-001/checkpoint.arrow"

/** Adds to one value of one tensor of a checkpoint. */
const nudge = (network: string, name: string, at: number, by: number) => (batch: RecordBatch) =>
  withView(checkpoint, batch, (view) => ({
    data: view.data.map((bytes, row) => {
      if (view.network[row] !== network || view.name[row] !== name) return bytes
      const values = new Float32Array(bytes.slice().buffer)
      values[at]! += by
      return new Uint8Array(values.buffer)
    })
  }))

describe("a teacher checkpoint edited by 1e-3, its checksum covered up", () => {
  it.each([
    ["backbone.conv1.weight", 0, 1e-3],
    ["backbone.layer3.0.conv2.weight", 17, -1e-3],
    ["backbone.layer4.0.bn1.bias", 3, 1e-3],
    ["classifier.weight", 30, 1e-3]
  ])("is named by the check of the mean teachers: %s", async (name, at, by) => {
    const folder = copyOf(home)
    await forge(folder, teacherCheckpoint, nudge("teacher-2", name, at, by))
    const { "mean teachers": found, ...others } = await violationsOf(folder)
    expect(others).toEqual({})
    expect(found).toHaveLength(1)
    expect(found![0]).toMatchObject({ file: teacherCheckpoint, column: "data" })
    expect(found![0]!.problem).toMatch(new RegExp(`^teacher-2 ${name}: it does not follow from (pretrain|cluster)/`))
    const rows = await rowNames(folder)
    expect(rows[found![0]!.row!]).toBe(`teacher-2 ${name}`)
  })

  it("of the last epoch too, and a student's likewise", async () => {
    const folder = copyOf(home)
    const last = "train/epoch-002/checkpoint.arrow"
    await forge(folder, last, nudge("teacher-1", "backbone.conv1.weight", 5, 1e-3))
    await forge(folder, last, nudge("student-1", "backbone.conv1.weight", 5, 1e-3))
    const { "mean teachers": found } = await violationsOf(folder)
    expect(found!.map(({ file, problem }) => [file, problem.slice(0, problem.indexOf(":"))])).toEqual([
      [last, "student-1 backbone.conv1.weight"],
      [last, "teacher-1 backbone.conv1.weight"]
    ])
  })
})

const rowNames = async (folder: string) => {
  const names: Array<string> = []
  await forge(folder, teacherCheckpoint, (batch) => {
    const { network, name } = viewOf(checkpoint, batch)
    names.push(...network.map((of, row) => `${of} ${name[row]}`))
    return undefined
  })
  return names
}

interface Forgery {
  readonly about: string
  readonly file: string
  readonly change: (batch: RecordBatch, index: number) => RecordBatch | undefined
  /** By check: file, row and column of its first violation, and what its text says. */
  readonly named: Readonly<
    Record<string, readonly [file: string, row: number | undefined, column: string | undefined, text: RegExp]>
  >
}

const labelsFile = "cluster/epoch-002/pseudo-labels.arrow"
const centroidsFile = "cluster/epoch-002/centroids.arrow"
const embedded = "embed/epoch-002/target-train/embeddings.arrow"
const trained = "train/epoch-002/train-metrics.arrow"
const updates = "train/epoch-002/teacher-updates.arrow"
const ranked = "evaluate/epoch-002/teacher-1/ranking.arrow"
const scored = "evaluate/epoch-002/teacher-1/metrics.arrow"
const tappedBatches = "train/epoch-002/tap/batches.arrow"
const tappedNetworks = "train/epoch-002/tap/networks.arrow"

const forgeries: ReadonlyArray<Forgery> = [
  {
    about: "an embedding that is not normalised",
    file: embedded,
    change: (batch) =>
      withView(embeddings, batch, ({ embedding }) => ({
        embedding: setAt(embedding, 8 * 4, embedding[8 * 4]! + 0.01)
      })),
    named: { embeddings: [embedded, 4, "embedding", /: norm [\d.]+, expected 1$/] }
  },
  {
    about: "an embedding of NaN",
    file: embedded,
    change: (batch) =>
      withView(embeddings, batch, ({ embedding }) => ({ embedding: setAt(embedding, 17, Number.NaN) })),
    named: { embeddings: [embedded, 2, "embedding", /: value 1 is NaN, expected finite numbers$/] }
  },
  {
    about: "an embedding of another image's camera",
    file: embedded,
    change: (batch) => withView(embeddings, batch, ({ camera }) => ({ camera: setAt(camera, 0, 9) })),
    named: { embeddings: [embedded, 0, "camera", /: 9, the image's is \d$/] }
  },
  {
    about: "an image without a pseudo label",
    file: labelsFile,
    change: (batch) =>
      withView(pseudoLabels, batch, ({ image, label }) => ({ image: image.slice(1), label: label.slice(1) })),
    named: {
      "pseudo labels": [labelsFile, undefined, "image", / has no pseudo label$/]
    }
  },
  {
    about: "an image with two pseudo labels",
    file: labelsFile,
    change: (batch) => withView(pseudoLabels, batch, ({ image }) => ({ image: [image[1]!, ...image.slice(1)] })),
    named: { "pseudo labels": [labelsFile, 1, "image", / has two pseudo labels$/] }
  },
  {
    about: "a label beyond the clusters",
    file: labelsFile,
    change: (batch) => withView(pseudoLabels, batch, ({ label }) => ({ label: setAt(label, 3, 5) })),
    named: { "pseudo labels": [labelsFile, 3, "label", /label 5, expected −1 \(an outlier\) or 0 … 4$/] }
  },
  {
    about: "a cluster of another size",
    file: centroidsFile,
    change: (batch) => withView(centroids, batch, ({ size }) => ({ size: setAt(size, 2, size[2]! + 1) })),
    named: { "pseudo labels": [centroidsFile, 2, "size", /^\d+, \d+ images have its label$/] }
  },
  {
    about: "a loss that the total does not hold",
    file: trained,
    change: (batch) => {
      const changed = withView(trainMetrics, batch, () => ({}))
      const values = changed.getChild("softCe2")!.data[0]!.values as Float32Array
      values[1]! += 1e-4
      return changed
    },
    named: { losses: [trained, 1, "total", /, the weighted terms add up to [\d.]+$/] }
  },
  {
    about: "a loss of NaN",
    file: trained,
    change: (batch) => {
      const changed = withView(trainMetrics, batch, () => ({}))
      const values = changed.getChild("ce1")!.data[0]!.values as Float32Array
      values[2] = Number.NaN
      return changed
    },
    named: { losses: [trained, 2, "ce1", /^NaN, expected a finite number$/] }
  },
  {
    about: "an iteration that is missing",
    file: trained,
    change: (batch) => batch.slice(0, 2),
    named: { batches: [trained, undefined, undefined, /^2 iterations, the sampler gives 3 batches$/] }
  },
  {
    about: "a learning rate that is not the schedule's",
    file: trained,
    change: (batch) =>
      withView(trainMetrics, batch, ({ learningRate }) => ({ learningRate: setAt(learningRate, 0, 1e-3) })),
    named: { losses: [trained, 0, "learningRate", /, the schedule gives 0\.00035$/] }
  },
  {
    about: "an α that is not the warm-up's",
    file: updates,
    change: (batch) => withView(teacherUpdates, batch, ({ alpha }) => ({ alpha: setAt(alpha, 1, 0.5) })),
    named: { "mean teachers": [updates, 1, "alpha", /^0\.5, expected 0\.8$/] }
  },
  {
    about: "a match that shows someone else",
    file: ranked,
    change: (batch) => withView(ranking, batch, ({ match }) => ({ match: match.with(0, !match[0]) })),
    named: {
      "rankings and metrics": [ranked, 0, "match", /^(true|false), the query shows \d+, the gallery image \d+$/]
    }
  },
  {
    about: "distances that do not ascend",
    file: ranked,
    change: (batch) => withView(ranking, batch, ({ distance }) => ({ distance: setAt(distance, 1, -1) })),
    named: { "rankings and metrics": [ranked, 1, "distance", /^-1 at rank 2, [\d.e-]+ before it$/] }
  },
  {
    about: "a better mAP",
    file: scored,
    change: (batch) => withView(metrics, batch, ({ value }) => ({ value: setAt(value, 0, 0.99) })),
    named: { "rankings and metrics": [scored, 0, "value", /^mAP is 0\.99, the rankings give 0\.\d+$/] }
  },
  {
    about: "a tapped batch of another label",
    file: tappedBatches,
    change: (batch, index) =>
      index === 1
        ? withView(batches, batch, ({ label }) => ({ label: setAt(label, 2, 99) }))
        : withView(batches, batch, () => ({})),
    named: { batches: [tappedBatches, 10, "label", /^iteration 2: 99, the sampler gives \d$/] }
  },
  {
    about: "a tapped batch of another pixel",
    file: tappedBatches,
    change: (batch, index) =>
      index === 0
        ? withView(batches, batch, ({ pixels }) => ({ pixels: setAt(pixels, 0, 7) }))
        : withView(batches, batch, () => ({})),
    named: { batches: [tappedBatches, 0, "pixels", /^iteration 0: value 0 is 7, the augmentation gives /] }
  },
  {
    about: "a tapped teacher that its update did not make",
    file: tappedNetworks,
    change: (batch, index) =>
      index === 1
        ? nudge("teacher-1", "backbone.conv1.weight", 9, 1e-5)(batch)
        : withView(checkpoint, batch, () => ({})),
    named: {
      "mean teachers": [
        tappedNetworks,
        undefined,
        "data",
        /^iteration 0, teacher-1 backbone\.conv1\.weight: value 9 is /
      ]
    }
  }
]

describe("what was edited and covered up", () => {
  it.each(forgeries.map((forgery) => [forgery.about, forgery] as const))(
    "is named: %s",
    async (_, { file, change, named }) => {
      const folder = copyOf(home)
      await forge(folder, file, change)
      const found = await violationsOf(folder)
      expect(found).not.toHaveProperty("checksums")
      expect(found).not.toHaveProperty("lineage")
      for (const [check, [path, row, column, text]] of Object.entries(named)) {
        const first = found[check]?.find((violation) => violation.file === path && violation.column === column)
        expect(first, JSON.stringify(found, null, 1)).toBeDefined()
        if (row !== undefined) expect(first!.row).toBe(row)
        expect(first!.problem).toMatch(text)
      }
    }
  )
})

describe("the manifest", () => {
  it("is held against the files, and its inputs against its outputs", async () => {
    const folder = copyOf(home)
    rmSync(join(folder, scored))
    editManifest(
      folder,
      (text) => text,
      ({ tasks }) => {
        const cluster = tasks["cluster/epoch-002"]!
        Object.assign(cluster.steps[0]!.inputs, { embeddings: ["ab".repeat(32)] })
        Object.assign(cluster.outputs.centroids!.files[0]!, { rows: 7 })
        Object.assign(cluster.outputs["pseudo-labels"]!.columns, { label: "Int64" })
      }
    )
    const text = readFileSync(join(folder, "manifest.json"), "utf8")
    const found = await violationsOf(folder)
    expect(found.checksums).toEqual([{ file: scored, problem: "is missing" }])
    expect(found.lineage).toEqual([
      {
        file: "manifest.json",
        problem: "cluster/epoch-002: input embeddings of cluster, abababababab…, is no artifact of this run"
      }
    ])
    expect(found["columns and rows"]).toEqual([
      { file: labelsFile, column: "label", problem: "Int32, recorded was Int64" },
      { file: centroidsFile, problem: "5 rows, recorded were 7" },
      { file: scored, problem: "cannot be read as metrics: there is no such file" }
    ])
    expect(readFileSync(join(folder, "manifest.json"), "utf8")).toBe(text)
  })

  it("names parameters that are not the stage's, and outputs that are gone", async () => {
    const folder = copyOf(home)
    editManifest(
      folder,
      (text) => text,
      ({ tasks }) => {
        const { steps, outputs } = tasks["train/epoch-002"]!
        Object.assign(steps[0]!.params, { identities: "many" })
        Reflect.deleteProperty(outputs, "teacher-updates")
      }
    )
    const found = await violationsOf(folder)
    expect(found.batches).toMatchObject([
      { file: "manifest.json", problem: expect.stringMatching(/^cannot be read as parameters of augment: /) }
    ])
    expect(found.lineage).toEqual([
      { file: "manifest.json", problem: "train/epoch-002: its output teacher-updates is not recorded" }
    ])
  })

  it("may not lead out of the run's folder", async () => {
    const folder = copyOf(home)
    editManifest(folder, (text) => text.replace(`"${scored}"`, `"../../small.yaml"`))
    expect((await violationsOf(folder)).checksums).toEqual([
      { file: "manifest.json", problem: '"../../small.yaml" leaves the run\'s folder' }
    ])
  })
})

describe("mmt audit", () => {
  it("prints a line a check and a summary, and ends with 0", async () => {
    const { code, out, err } = await mmt(home, "audit", "runs/small")
    expect(err).toBe("")
    expect(code).toBe(0)
    const lines = out.trimEnd().split("\n")
    expect(lines).toHaveLength(11)
    expect(lines[0]).toBe("ok    checksums             44 files: every file has the bytes that were written")
    expect(lines.at(-1)).toBe("runs/small: 9 of 9 checks passed, 0 violations; 44 files of 24 tasks")
  })

  it("ends with 1 on a violation, which JSON names too", async () => {
    const folder = copyOf(home)
    await forge(folder, scored, forgeries.find(({ file }) => file === scored)!.change)
    const { code, out, err } = await mmt(home, "audit", folder, "--json")
    expect(code).toBe(1)
    expect(err).toMatch(/: 1 violations\n$/)
    const { passed, checks } = JSON.parse(out) as { passed: boolean; checks: ReadonlyArray<Checked> }
    expect(passed).toBe(false)
    expect(checks.flatMap(({ violations }) => violations)).toMatchObject([{ file: scored, row: 0, column: "value" }])
  })
})
