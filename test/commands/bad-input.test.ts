/** Bad input: the exit code, a line or two that name what is wrong, no stack trace, and nothing lost. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Field, makeData, RecordBatch, Schema, Struct, Table, tableToIPC } from "apache-arrow"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { batchOf } from "#schemas/artifact.ts"
import { embeddings } from "#schemas/embeddings.ts"
import { drawPair, type Ended, events, filesBelow, mmt, startedTasks, tinyRun, writeRunFile } from "./mmt.ts"

// Whole runs in processes of their own, on a machine that may be busy.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 })

let home: string

/** Embeddings of four images; a value and the columns can be others. */
const embedded = (value = 1): RecordBatch =>
  batchOf(
    embeddings,
    {
      image: ["a.jpg", "b.jpg", "c.jpg", "d.jpg"],
      person: Int32Array.of(1, 2, 1, 2),
      camera: Int32Array.of(1, 1, 2, 2),
      embedding: Float32Array.of(0, 1, 1, 0, 0, 1, value, 0)
    },
    {}
  )

/** The batch with some of its columns, by their new names. */
const columns = (batch: RecordBatch, from: Readonly<Record<string, string>>): RecordBatch => {
  const places = Object.values(from).map((name) => batch.schema.names.indexOf(name))
  const fields = Object.keys(from).map((name, i) => new Field(name, batch.schema.fields[places[i]!]!.type, false))
  const children = places.map((place) => batch.data.children[place]!)
  const data = makeData({ type: new Struct(fields), length: batch.numRows, nullCount: 0, children })
  return new RecordBatch(new Schema(fields), data)
}

const writeArrow = (name: string, batch: RecordBatch) =>
  writeFileSync(join(home, name), tableToIPC(new Table([batch]), "file"))

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "mmt-bad-"))
  await drawPair(home)
  writeRunFile(home, tinyRun)
  writeRunFile(home, `${tinyRun}colour: red\n`, "unknown.yaml")
  writeRunFile(home, tinyRun.replace("classes: 5", "classes: many"), "mistyped.yaml")
  writeRunFile(home, tinyRun.replace("pair/source", "nowhere"), "nowhere.yaml")
  writeRunFile(home, tinyRun.replace("pair/source", "odd"), "odd.yaml")
  writeRunFile(home, "data:\n  - a\n b: 1\n", "broken.yaml")
  const odd = join(home, "odd/bounding_box_train")
  mkdirSync(odd, { recursive: true })
  for (const name of ["0001_c1s1_000001_01.jpg", "holiday.jpg"]) writeFileSync(join(odd, name), "")
  writeArrow("good.arrow", embedded())
  writeArrow("nan.arrow", embedded(Number.NaN))
  writeArrow("no-person.arrow", columns(embedded(), { image: "image", camera: "camera", embedding: "embedding" }))
  const mixed = { image: "image", person: "person", camera: "image", embedding: "embedding" }
  writeArrow("mistyped.arrow", columns(embedded(), mixed))
  writeArrow("cut.arrow", embedded())
  truncateSync(join(home, "cut.arrow"), 300)
})

afterAll(() => rmSync(home, { recursive: true, force: true }))

/** What was said beyond the progress, whose lines start with the time. */
const said = ({ err }: Ended) =>
  err
    .trimEnd()
    .split("\n")
    .filter((line) => !/^\d\d:\d\d:\d\d {2}/.test(line))
    .map((line) => line.replaceAll(home, "HOME"))

const adaptKeys =
  "epochs, iterations, identities, instances, algorithm, classes, tolerance, eps, minSamples, k1, k2, encoding, epsGap, softIdentity, softTriplet, softLabels, meanTeachers, momentum, momentumWarmup, teacherUpdate, learningRate, warmupEpochs, milestones, milestoneFactor, weightDecay, labelSmoothing, tripletMargin, distanceGradient, flip, pad, erase, colorJitter, blur"

const cluster = (...more: ReadonlyArray<string>) => ["stage", "run", "cluster", "--out", "out", ...more]

const cases: ReadonlyArray<
  readonly [what: string, args: ReadonlyArray<string>, code: 1 | 2, said: ReadonlyArray<string>]
> = [
  [
    "a data set that is not there",
    ["run", "nowhere.yaml"],
    1,
    [
      "no folder HOME/nowhere/bounding_box_train: a market1501 data set keeps the training images there",
      "name the folder that directly holds the data set's own folders, or another format"
    ]
  ],
  [
    "an image whose name tells nothing",
    ["run", "odd.yaml"],
    1,
    [
      "HOME/odd/bounding_box_train/holiday.jpg: the name does not tell person and camera; market1501 names look like PERSON_cCAMERA…, as 0002_c1s1_000451_03.jpg or -1_c1s1_000401_03.jpg (junk)",
      "rename the image, or move it out of the folder"
    ]
  ],
  [
    "an unknown key",
    ["run", "unknown.yaml"],
    2,
    [
      'unknown.yaml: unknown key "colour"; known here: name, extends, seed, data, model, pretrain, adapt, evaluate, engine, train, audit, variants, branch'
    ]
  ],
  [
    "a value of the wrong type",
    ["plan", "mistyped.yaml"],
    2,
    ['mistyped.yaml: key "adapt.classes": expected number, found "many"']
  ],
  [
    "a run file that is no YAML",
    ["run", "broken.yaml"],
    2,
    ["broken.yaml: All mapping items must start at the same column at line 3, column 1"]
  ],
  ["a run file that is not there", ["run", "none.yaml"], 2, ["none.yaml: there is no such file"]],
  [
    "an unknown key in --set",
    ["run", "tiny.yaml", "--set", "adapt.clases=3"],
    2,
    [`tiny.yaml: unknown key "adapt.clases"; known here: ${adaptKeys}`]
  ],
  [
    "--set without a value",
    ["run", "tiny.yaml", "--set", "seed"],
    2,
    ["--set seed: expected KEY=VALUE, as --set seed=2"]
  ],
  [
    "an unknown flag",
    ["run", "tiny.yaml", "--thread", "2"],
    2,
    ["Unrecognized flag: --thread in command mmt run Did you mean this? --threads", "See `mmt run --help`."]
  ],
  ["no run file", ["run"], 2, ["Missing required argument: FILE", "See `mmt run --help`."]],
  [
    "an unknown command",
    ["train"],
    2,
    ['Unknown subcommand "train" for "mmt" Did you mean this? trace', "See `mmt --help`."]
  ],
  [
    "no threads",
    ["run", "tiny.yaml", "--threads", "0"],
    2,
    [
      'Invalid value for flag --threads: "0". Expected: Schema validation failed: Expected a value greater than 0',
      "See `mmt run --help`."
    ]
  ],
  [
    "a run folder that is a file",
    ["run", "tiny.yaml", "--out", "tiny.yaml"],
    1,
    ["tiny.yaml: cannot be written: EEXIST: file already exists, mkdir 'tiny.yaml'"]
  ],
  ["no run to score", ["score", "pair"], 1, ["pair: is not a run's folder: it has no run.yaml"]],
  [
    "no file to show",
    ["show", "none.arrow"],
    1,
    ["none.arrow: cannot be read as an Arrow file: there is no such file"]
  ],
  [
    "a text to show",
    ["show", "tiny.yaml"],
    1,
    ["tiny.yaml: cannot be read as an Arrow file: it is no Arrow file or stream"]
  ],
  [
    "a stage that there is not",
    ["stage", "run", "clusters", "--out", "out"],
    2,
    [
      'Invalid value for argument <NAME>: "clusters". Expected: "decode" | "augment" | "embed" | "cluster" | "train-step" | "ema-update" | "evaluate"',
      "See `mmt stage run --help`."
    ]
  ],
  [
    "a missing input",
    cluster(),
    2,
    ['stage cluster: input port "embeddings" (of all training images) is missing; give --in embeddings=FILE']
  ],
  [
    "an unknown port",
    cluster("--in", "embedding=good.arrow", "--in", "embeddings=good.arrow"),
    2,
    ['stage cluster: no input port "embedding"; it has: embeddings, initial-centroids, first-pseudo-labels']
  ],
  ["--in without a port", cluster("--in", "good.arrow"), 2, ["--in good.arrow: expected PORT=FILE"]],
  [
    "parameters that the stage lacks, and of the wrong type",
    cluster("--in", "embeddings=good.arrow", "--set", "clases=2", "--set", "seed=x"),
    2,
    [
      'stage cluster: unknown key "clases"; known here: algorithm, classes, tolerance, maxIterations, seed, eps, minSamples, k1, k2, encoding, epsGap',
      'stage cluster: key "seed": expected number, found "x"'
    ]
  ],
  [
    "more classes than images",
    cluster("--in", "embeddings=good.arrow", "--set", "classes=5"),
    1,
    ['good.arrow: parameter "classes" is 5, but there are only 4 images; choose at most as many']
  ],
  [
    "a column that is missing",
    cluster("--in", "embeddings=no-person.arrow"),
    1,
    [
      'no-person.arrow: column "person" of embeddings: expected int32, found no such column (it has image, camera, embedding)'
    ]
  ],
  [
    "a column of another type",
    cluster("--in", "embeddings=mistyped.arrow"),
    1,
    ['mistyped.arrow: column "camera" of embeddings: expected int32, found Utf8']
  ],
  [
    "a value that is no number",
    cluster("--in", "embeddings=nan.arrow", "--set", "classes=2"),
    1,
    ['nan.arrow: column "embedding" of image "d.jpg" holds NaN, expected finite numbers']
  ],
  [
    "no number among the queries",
    ["stage", "run", "evaluate", "--out", "out", "--in", "query=nan.arrow", "--in", "gallery=good.arrow"],
    1,
    ['nan.arrow: column "embedding" of image "d.jpg" holds a value that is no finite number']
  ],
  [
    "a file that is cut off",
    cluster("--in", "embeddings=cut.arrow"),
    1,
    ["cut.arrow: cannot be read as embeddings: it is cut off: the end of an Arrow file is missing"]
  ],
  [
    "an input that is not there",
    cluster("--in", "embeddings=none.arrow"),
    1,
    ["none.arrow: cannot be read as embeddings: there is no such file"]
  ],
  [
    "an output that cannot be written",
    ["stage", "run", "cluster", "--in", "embeddings=good.arrow", "--set", "classes=2", "--out", "tiny.yaml"],
    1,
    ["tiny.yaml/pseudo-labels.arrow: cannot be written: EEXIST: file already exists, mkdir 'tiny.yaml'"]
  ]
]

describe("mmt says what is wrong, in a line or two, and ends with its code", () => {
  // Two at a time, as there may be no more cores.
  const lanes: Array<Promise<unknown>> = [Promise.resolve(), Promise.resolve()]
  const results: Array<Promise<Ended>> = []
  beforeAll(() => {
    for (const [i, [, args]] of cases.entries()) {
      results[i] = lanes[i % 2]!.then(() => mmt(home, ...args))
      lanes[i % 2] = results[i]
    }
  })

  it.each(cases.map((one, i) => [one[0], i] as const))("%s", async (_, i) => {
    const ended = await results[i]!
    const [, , code, expected] = cases[i]!
    expect(said(ended)).toEqual(expected)
    expect(ended.code).toBe(code)
    expect(ended.out).toBe("")
  })

  it("leaves no outputs", () => {
    expect(filesBelow(join(home, "out"))).toEqual([])
  })
})

describe("a run that failed", () => {
  const folder = () => join(home, "runs/tiny")
  const small = ["pretrain.epochs=1", "pretrain.iterations=1", "adapt.epochs=1", "adapt.iterations=1"]
  const run = (...set: ReadonlyArray<string>) =>
    mmt(home, "run", "tiny.yaml", ...[...small, ...set].flatMap((one) => ["--set", one]))
  const image = () => join(home, "pair/target/bounding_box_test/0007_c1s1_000002_01.jpg")
  const decoded = ["source-train", "target-train", "target-query", "target-gallery"].map((split) => `decode/${split}`)

  it("names an image that does not decode, and keeps what it has", async () => {
    cpSync(image(), join(home, "whole.jpg"))
    truncateSync(image(), readFileSync(image()).length >> 1)
    const ended = await run()
    expect(ended.code).toBe(1)
    expect(said(ended)).toHaveLength(1)
    expect(said(ended)[0]).toMatch(
      /^HOME\/pair\/target\/bounding_box_test\/0007_c1s1_000002_01\.jpg: does not decode: .+\. Replace the file or take it out of the data set\.$/
    )
    const failed = events(folder()).at(-1) as { type: string; task: string; problem: string }
    expect(failed).toMatchObject({ type: "task-failed", task: "decode/target-gallery" })
    expect(failed.problem).toContain("0007_c1s1_000002_01.jpg: does not decode")
    expect(startedTasks(folder())).toEqual(decoded)
  })

  it("goes on when the image is replaced, until there are more classes than images", async () => {
    cpSync(join(home, "whole.jpg"), image())
    const ended = await run("adapt.classes=99")
    expect(ended.code).toBe(1)
    expect(said(ended)).toEqual([
      'runs/tiny/embed/epoch-001/target-train/embeddings.arrow: parameter "classes" is 99, but there are only 36 images; choose at most as many'
    ])
    const started = startedTasks(folder())
    expect(started.filter((task) => task.startsWith("decode/"))).toEqual([...decoded, "decode/target-gallery"])
    expect(started.at(-1)).toBe("cluster/epoch-001")
  })

  it("goes on to the end with fewer", async () => {
    const { length } = startedTasks(folder())
    const ended = await run("adapt.classes=5")
    expect(ended.code, ended.err).toBe(0)
    expect(startedTasks(folder()).slice(length, length + 2)).toEqual(["cluster/epoch-001", "train/epoch-001"])
    expect(ended.out).toContain("mmt, epoch 1")
  })
})
