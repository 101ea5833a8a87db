/** The run file: defaults are the paper's settings, and whatever is wrong is said by key, found and expected. */
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { Effect, Runtime } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { backbones } from "#model/config.ts"
import { keptRunFile, parseRunFile, type RunConfig, readRunFile } from "#pipeline/run-file.ts"
import type { Adapt } from "#pipeline/run-keys.ts"
import type { Override } from "#pipeline/settings.ts"

const data = "data: { source: { root: a }, target: { root: b } }\n"

const backboneNames = Object.keys(backbones)
  .map((name) => `"${name}"`)
  .join(" | ")

const parsed = (text: string, overrides: ReadonlyArray<Override> = []): RunConfig =>
  Effect.runSync(parseRunFile(text, "recipes/my-run.yaml", overrides))

const problems = (text: string, overrides: ReadonlyArray<Override> = []): string =>
  Effect.runSync(Effect.flip(parseRunFile(text, "my.yaml", overrides))).message

const paperAdaptation: Adapt = {
  epochs: 40,
  iterations: 400,
  identities: 16,
  instances: 4,
  algorithm: "kmeans",
  classes: 500,
  tolerance: 1e-4,
  eps: 0.6,
  minSamples: 4,
  k1: 30,
  k2: 6,
  encoding: "openunreid",
  epsGap: 0,
  softIdentity: 0.5,
  softTriplet: 0.8,
  softLabels: "mean-teachers",
  meanTeachers: true,
  momentum: 0.999,
  momentumWarmup: true,
  teacherUpdate: "after-step",
  learningRate: 3.5e-4,
  warmupEpochs: 0,
  milestones: [],
  milestoneFactor: 0.1,
  weightDecay: 5e-4,
  labelSmoothing: 0.1,
  tripletMargin: 0,
  distanceGradient: "full",
  flip: 0.5,
  pad: 10,
  erase: 0.5
}

describe("engine", () => {
  it("takes the threads of an op and the ops at a time, or leaves them to the machine", () => {
    expect(parsed(data).engine).toEqual({})
    const { engine } = parsed(`${data}engine: { threadsPerOp: 4, opsAtOnce: 3 }`)
    expect(engine).toEqual({ threadsPerOp: 4, opsAtOnce: 3 })
    expect(problems(`${data}engine: { threadsPerOp: 0, cores: 2 }`)).toBe(
      'my.yaml: unknown key "engine.cores"; known here: threadsPerOp, opsAtOnce\nmy.yaml: key "engine.threadsPerOp": expected a value greater than 0, found 0'
    )
  })
})

describe("defaults", () => {
  it("are the paper's settings", () => {
    const run = parsed(data)
    expect(run.data).toEqual({
      source: { format: "market1501", root: "a" },
      target: { format: "market1501", root: "b" },
      height: 256,
      width: 128
    })
    expect(run.pretrain).toEqual({
      epochs: 80,
      iterations: 200,
      identities: 16,
      instances: 4,
      learningRate: 3.5e-4,
      warmupEpochs: 10,
      milestones: [40, 70],
      milestoneFactor: 0.1,
      weightDecay: 5e-4,
      labelSmoothing: 0.1,
      triplet: 1,
      tripletMargin: 0,
      flip: 0.5,
      pad: 10,
      erase: 0
    })
    expect(run.adapt).toEqual(paperAdaptation)
    const reranking = { rerank: false, encoding: "openunreid", k1: 20, k2: 6, lambda: 0.3 }
    expect(run.evaluate).toEqual({ every: 1, ranks: [1, 5, 10], depth: 10, ...reranking })
    expect(run.seed).toBe(1)
    expect(run.variants).toEqual([])
  })

  it("name the run after its file and know the folder of relative paths", () => {
    expect(parsed(data)).toMatchObject({ name: "my-run", folder: resolve("recipes") })
    expect(parsed(`name: duke\n${data}`).name).toBe("duke")
  })

  it("fill in what one key leaves open", () => {
    expect(parsed(`${data}adapt: { classes: 700 }`).adapt).toEqual({ ...paperAdaptation, classes: 700 })
  })
})

describe("colour jitter and blur", () => {
  it("are off, and have the defaults of fast-reid and OpenUnReID where they are asked for", () => {
    expect(parsed(data).adapt).not.toHaveProperty("colorJitter")
    const { adapt, pretrain } = parsed(
      `${data}adapt: { colorJitter: {}, blur: { sigma: [1, 3] } }\npretrain: { colorJitter: { hue: 0 } }`
    )
    const jitter = { probability: 0.5, brightness: 0.15, contrast: 0.15, saturation: 0.1, hue: 0.1 }
    expect(adapt.colorJitter).toEqual(jitter)
    expect(adapt.blur).toEqual({ probability: 0.5, sigma: [1, 3] })
    expect(pretrain.colorJitter).toEqual({ ...jitter, hue: 0 })
    expect(pretrain).not.toHaveProperty("blur")
    expect(problems(`${data}adapt: { blur: { sigma: [3, 1] }, colorJitter: { hue: 0.6 } }`).split("\n")).toEqual([
      'my.yaml: key "adapt.colorJitter.hue": expected a value between 0 and 0.5, found 0.6',
      'my.yaml: key "adapt.blur.sigma": expected the lowest and the highest of two numbers, found [3,1]'
    ])
  })
})

describe("variants", () => {
  it("differ from adapt in the keys they name", () => {
    const run = parsed(`${data}adapt: { classes: 700 }
variants:
  baseline: { softIdentity: 0, softTriplet: 0, meanTeachers: false }
  hard-triplet: { softTriplet: 0, classes: 900 }`)
    const own = { ...paperAdaptation, classes: 700 }
    expect(run.variants).toEqual([
      ["baseline", { ...own, softIdentity: 0, softTriplet: 0, meanTeachers: false }],
      ["hard-triplet", { ...own, softTriplet: 0, classes: 900 }]
    ])
  })

  it.each(["decode", "pretrain", "embed", "cluster", "train", "evaluate", "source-only", "mmt"])(
    "are not called %s, as folders and rows of the run are",
    (name) => {
      expect(problems(`${data}variants: { ${name}: {} }`)).toBe(
        `my.yaml: variant "${name}": expected another name; taken are decode, pretrain, embed, cluster, train, evaluate, start, source-only, mmt, reruns`
      )
    }
  )

  it.each(["Big", "a/b", "..", "-x", "a b"])("are not called %j, which is no folder's name", (name) => {
    expect(problems(`${data}variants: { "${name}": {} }`)).toBe(
      `my.yaml: variant "${name}": expected a name of a-z, 0-9 and -`
    )
  })

  it("are checked like adapt, each problem by its whole key", () => {
    const lines = problems(`${data}variants: { x: { clases: 3, epochs: a }, y: { momentum: 2 } }`).split("\n")
    expect(lines).toHaveLength(3)
    expect(lines[0]).toMatch(/^my.yaml: unknown key "variants.x.clases"; known here: epochs, iterations, .*, classes, /)
    expect(lines.slice(1)).toEqual([
      'my.yaml: key "variants.x.epochs": expected number, found "a"',
      'my.yaml: key "variants.y.momentum": expected a value between 0 and 1, found 2'
    ])
  })

  it("have soft losses with what gives the soft labels only", () => {
    const wrong = "softIdentity and softTriplet must be 0 without meanTeachers (or softLabels: students)"
    expect(problems(`${data}adapt: { meanTeachers: false }`)).toBe(
      `my.yaml: key "adapt": ${wrong}, found {"meanTeachers":false}`
    )
    expect(problems(`${data}variants: { x: { meanTeachers: false, softIdentity: 0 } }`)).toBe(
      `my.yaml: key "variants.x": ${wrong}, found {"meanTeachers":false,"softIdentity":0}`
    )
    expect(problems(`${data}adapt: { softLabels: students }`)).toBe(
      'my.yaml: key "adapt": softLabels: students goes with meanTeachers: false, found {"softLabels":"students"}'
    )
    for (const settings of [
      { meanTeachers: false, softIdentity: 0, softTriplet: 0 },
      { meanTeachers: false, softLabels: "students" },
      { meanTeachers: true, softIdentity: 0, softTriplet: 0 }
    ])
      expect(parsed(`${data}adapt: ${JSON.stringify(settings)}`).adapt).toMatchObject(settings)
  })
})

describe("errors", () => {
  it.each<readonly [what: string, text: string, message: string]>([
    [
      "an unknown key",
      `${data}colour: red`,
      'unknown key "colour"; known here: name, extends, seed, data, model, pretrain, adapt, evaluate, engine, train, audit, variants, branch'
    ],
    [
      "an unknown nested key",
      `${data}evaluate: { evry: 2 }`,
      'unknown key "evaluate.evry"; known here: every, ranks, depth, rerank, encoding, k1, k2, lambda'
    ],
    ["a wrong type", `${data}adapt: { classes: many }`, 'key "adapt.classes": expected number, found "many"'],
    ["a fraction", `${data}seed: 1.5`, 'key "seed": expected an integer, found 1.5'],
    [
      "no clustering algorithm",
      `${data}adapt: { algorithm: optics }`,
      'key "adapt.algorithm": expected "kmeans" | "dbscan", found "optics"'
    ],
    [
      "a radius that holds all images",
      `${data}adapt: { eps: 1 }`,
      'key "adapt.eps": expected a number between 0 and 1, or auto, found 1'
    ],
    [
      "a radius that is a word",
      `${data}adapt: { eps: large }`,
      'key "adapt.eps": expected number | "auto", found "large"'
    ],
    [
      "a gap that leaves no radius",
      `${data}adapt: { eps: 0.6, epsGap: 0.4 }`,
      'key "adapt": epsGap is 0.4, expected eps − epsGap above 0 and eps + epsGap below 1, with eps 0.6, found {"eps":0.6,"epsGap":0.4}'
    ],
    [
      "more neighbours in the mean than in the lists",
      `${data}adapt: { k1: 5 }`,
      'key "adapt": k2 is 6, expected at most k1, which is 5, found {"k1":5}'
    ],
    ["zero", `${data}adapt: { classes: 0 }`, 'key "adapt.classes": expected a value greater than 0, found 0'],
    [
      "an unknown backbone",
      `${data}model: { backbone: resnet-99 }`,
      `key "model.backbone": expected ${backboneNames}, found "resnet-99"`
    ],
    ["a value in a list", `${data}evaluate: { ranks: [1, x] }`, 'key "evaluate.ranks.1": expected number, found "x"'],
    ["a null", `${data}adapt:`, 'key "adapt": expected object, found null'],
    ["no data", "seed: 1", 'key "data": missing key, found nothing'],
    ["no target", "data: { source: { root: a } }", 'key "data.target": missing key, found nothing'],
    [
      "an unknown format",
      "data: { source: { root: a, format: market }, target: { root: b } }",
      'key "data.source.format": expected "market1501" | "dukemtmc-reid" | "msmt17" | "folder", found "market"'
    ],
    [
      "a source without labels",
      "data: { source: { root: a, format: folder }, target: { root: b } }",
      'key "data.source": a source needs labels, which format folder does not have, found {"root":"a","format":"folder"}'
    ],
    [
      "a camera pattern of another format",
      'data: { source: { root: a }, target: { root: b, cameraPattern: "(?<camera>c)" } }',
      'key "data.target": cameraPattern is for format folder, not market1501, found {"root":"b","cameraPattern":"(?<camera>c)"}'
    ],
    [
      "a camera pattern without a camera",
      'data: { source: { root: a }, target: { root: b, format: folder, cameraPattern: "cam" } }',
      'key "data.target.cameraPattern": expected a regular expression with a group (?<camera>…), as "^cam(?<camera>[0-9]+)/", found "cam"'
    ],
    [
      "a camera pattern that is none",
      'data: { source: { root: a }, target: { root: b, format: folder, cameraPattern: "(?<camera>" } }',
      'key "data.target.cameraPattern": expected a regular expression; Invalid regular expression: /(?<camera>|/u: Unterminated group, found "(?<camera>"'
    ],
    [
      "an empty root",
      'data: { source: { root: "" }, target: { root: b } }',
      'key "data.source.root": expected a value with a length of at least 1, found ""'
    ],
    ["an empty file", "", 'expected keys and their values, as "data: …", found null'],
    ["a file of text", "just text", 'expected keys and their values, as "data: …", found "just text"'],
    ["a list", "- 1", 'expected keys and their values, as "data: …", found [1]'],
    [
      "bad YAML",
      "a: [1\nb: 2",
      "Flow sequence in block collection must be sufficiently indented and end with a ] at line 2, column 1"
    ],
    ["a key twice", "seed: 1\nseed: 2", "Map keys must be unique at line 2, column 1"],
    ["several documents", "seed: 1\n---\nseed: 2", "it holds several YAML documents, expected one"],
    [
      "an alias",
      "data: &d { source: { root: a }, target: { root: b } }\nadapt: *d",
      "aliases (*name) are not read; write the value out"
    ]
  ])("name the file and the place: %s", (_, text, message) => {
    expect(problems(text)).toBe(`my.yaml: ${message}`)
  })

  it("come all at once, a line each", () => {
    expect(problems(`${data}seed: x\nadapt: { classes: 0, pad: -1 }`).split("\n")).toEqual([
      'my.yaml: key "seed": expected number, found "x"',
      'my.yaml: key "adapt.classes": expected a value greater than 0, found 0',
      'my.yaml: key "adapt.pad": expected a value greater than or equal to 0, found -1'
    ])
  })

  it("are misuse of the command line", () => {
    const error = Effect.runSync(Effect.flip(parseRunFile("", "my.yaml")))
    expect(error).toMatchObject({ _tag: "RunFileInvalid", file: "my.yaml" })
    expect(Runtime.getErrorExitCode(error)).toBe(2)
  })
})

describe("overrides", () => {
  it("set keys at any depth, those that the file lacks too", () => {
    const run = parsed(`${data}adapt: { classes: 700, pad: 3 }\nvariants: { x: { classes: 900 } }`, [
      { key: "seed", value: 9 },
      { key: "adapt.classes", value: 4 },
      { key: "variants.x.epochs", value: 2 },
      { key: "variants.y", value: { momentum: 0.9 } },
      { key: "data.target.root", value: "c" }
    ])
    expect(run).toMatchObject({ seed: 9, adapt: { classes: 4, pad: 3 }, data: { target: { root: "c" } } })
    expect(run.variants).toEqual([
      ["x", { ...paperAdaptation, pad: 3, classes: 900, epochs: 2 }],
      ["y", { ...paperAdaptation, pad: 3, classes: 4, momentum: 0.9 }]
    ])
  })

  it("are checked like the file", () => {
    expect(problems(data, [{ key: "adapt.classes.x", value: 1 }])).toBe(
      'my.yaml: key "adapt.classes": expected number, found {"x":1}'
    )
    expect(problems(data, [{ key: "adapt.clases", value: 1 }])).toMatch(/^my.yaml: unknown key "adapt.clases"; known/)
  })

  it("do not reach objects' prototypes", () => {
    expect(problems(data, [{ key: "__proto__.polluted", value: 1 }])).toMatch(/^my.yaml: unknown key "__proto__"/)
    expect(Object.keys({})).toEqual([])
    expect("polluted" in {}).toBe(false)
  })
})

describe("files", () => {
  let home: string
  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), "mmt-run-file-"))
  })
  afterAll(() => rm(home, { recursive: true }))

  const failure = (file: string) => Effect.runPromise(Effect.flip(readRunFile(file)))

  it("are read from the disk", async () => {
    const file = join(home, "disk.yml")
    await writeFile(file, data)
    expect(await Effect.runPromise(readRunFile(file))).toMatchObject({ name: "disk", folder: home })
  })

  it("that are missing or folders are named", async () => {
    expect((await failure(join(home, "none.yaml"))).message).toBe(`${join(home, "none.yaml")}: there is no such file`)
    expect((await failure(home)).message).toBe(`${home}: it is a folder`)
  })

  it("keep the way to checkpoint files", () => {
    const text = `${data}model: { backbone: resnet-50, weights: w.pth }\npretrain: { checkpoints: [a.pth, /b.pth] }`
    const run = Effect.runSync(parseRunFile(text, "/home/x/my.yaml"))
    const kept = Effect.runSync(parseRunFile(keptRunFile(run, "/home/runs/my"), "/home/runs/my/run.yaml"))
    expect(kept.model.weights).toBe("../../x/w.pth")
    expect(kept.pretrain.checkpoints).toEqual(["../../x/a.pth", "/b.pth"])
  })

  it("are kept in the run's folder so that the same run is read from there", async () => {
    const folder = join(home, "runs", "kept")
    const text = `${data}seed: 3\nadapt: { classes: 7 }\nvariants: { x: { pad: 1 } }`
    const run = Effect.runSync(parseRunFile(text, join(home, "kept.yaml"), [{ key: "adapt.epochs", value: 2 }]))
    const kept = Effect.runSync(parseRunFile(keptRunFile(run, folder), join(folder, "run.yaml")))
    const roots = ({ data: { source, target }, folder: from }: RunConfig) =>
      [source!, target].map(({ root }) => resolve(from, root))
    expect(roots(kept)).toEqual([join(home, "a"), join(home, "b")])
    expect({ ...kept, data: run.data, folder: run.folder, given: run.given }).toEqual(run)
  })
})
