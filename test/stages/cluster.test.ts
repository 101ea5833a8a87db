import {
  Schema as ArrowSchema,
  type Data,
  type DataType,
  Field,
  Int32,
  makeData,
  RecordBatch,
  Struct,
  Utf8,
  vectorFromArray
} from "apache-arrow"
import { Effect, Result, Schema } from "effect"
import { describe, expect, it } from "vitest"
import { batchOf, metadataOf, viewOf } from "#schemas/artifact.ts"
import { embeddings } from "#schemas/embeddings.ts"
import { centroids, pseudoLabels } from "#schemas/pseudo-labels.ts"
import { ClusterParams, clusterStage } from "#stages/cluster.ts"
import { drain, inlet, run } from "./run-stage.ts"

/** Embeddings of images 0, 1 …: each at its place on a line. */
const batchAt = (places: ReadonlyArray<number>, first = 0, dimension = 2) =>
  batchOf(
    embeddings,
    {
      image: places.map((_, row) => `${first + row}.jpg`),
      person: new Int32Array(places.length),
      camera: new Int32Array(places.length),
      embedding: Float32Array.from(places.flatMap((place) => [place, ...Array(dimension - 1).fill(1)]))
    },
    {}
  )

const startAt = (label: ReadonlyArray<number>, places: ReadonlyArray<number>, dimension = 2) =>
  batchOf(
    centroids,
    {
      label: Int32Array.from(label),
      size: new Int32Array(label.length),
      centroid: Float32Array.from(places.flatMap((place) => [place, ...Array(dimension - 1).fill(1)]))
    },
    {}
  )

const cluster = (
  given: ReadonlyArray<RecordBatch>,
  params: Partial<typeof ClusterParams.Encoded>,
  start?: ReadonlyArray<RecordBatch>,
  first?: ReadonlyArray<RecordBatch>
) =>
  Effect.gen(function* () {
    const inputs = {
      embeddings: inlet(embeddings, given, "embeddings.arrow"),
      "initial-centroids": start ? inlet(centroids, start, "centroids.arrow") : undefined,
      "first-pseudo-labels": first ? inlet(pseudoLabels, first, "first.arrow") : undefined
    }
    const outlets = yield* clusterStage.run(inputs, yield* Schema.decodeUnknownEffect(ClusterParams)(params))
    return yield* drain(outlets)
  })

describe("cluster", () => {
  it("labels every image in its order, shard by shard, and gives the clusters' means and sizes", async () => {
    const given = [batchAt([0, 10, 0.5]), batchAt([]), batchAt([10.5, 20], 3)]
    const out = await run(cluster(given, { classes: 3, seed: 5 }))
    const labelled = out["pseudo-labels"].map((batch) => viewOf(pseudoLabels, batch))
    expect(labelled.map(({ image }) => image)).toEqual([["0.jpg", "1.jpg", "2.jpg"], [], ["3.jpg", "4.jpg"]])
    const [a, b, c, d, e] = labelled.flatMap(({ label }) => [...label])
    expect([c, d, new Set([a, b, e]).size]).toEqual([a, b, 3])
    expect(metadataOf(pseudoLabels, out["pseudo-labels"][0]!, "")).toMatchObject({ success: { classes: 3 } })
    const { label, size, centroid } = viewOf(centroids, out.centroids[0]!)
    expect([...label]).toEqual([0, 1, 2])
    expect([size[a!], size[b!], size[e!]]).toEqual([2, 2, 1])
    expect([...centroid.subarray(a! * 2, a! * 2 + 2)]).toEqual([0.25, 1])
  })

  it("gives the same labels for the same seed", async () => {
    const given = [batchAt(Array.from({ length: 40 }, (_, i) => Math.sin(i * 12.9898) * 100))]
    const labels = async (seed: number) => {
      const out = await run(cluster(given, { classes: 8, seed }))
      return [...viewOf(pseudoLabels, out["pseudo-labels"][0]!).label]
    }
    expect(await labels(1)).toEqual(await labels(1))
  })

  it("takes initial centroids in any order of their labels", async () => {
    const out = await run(cluster([batchAt([0, 10])], { classes: 2 }, [startAt([1], [9]), startAt([0], [1])]))
    expect([...viewOf(pseudoLabels, out["pseudo-labels"][0]!).label]).toEqual([0, 1])
  })

  it("carries columns over that it does not know", async () => {
    const batch = batchAt([0, 10])
    const notes: Data = vectorFromArray(["x", "y"], new Utf8()).data[0]!
    const fields = [...batch.schema.fields, new Field("note", notes.type as DataType)]
    const data = makeData({ type: new Struct(fields), length: 2, children: [...batch.data.children, notes] })
    const out = await run(cluster([new RecordBatch(new ArrowSchema(fields), data)], { classes: 1 }))
    const labelled = out["pseudo-labels"][0]!
    expect(labelled.schema.names).toEqual(["image", "label", "note"])
    expect([...labelled.getChild("note")!]).toEqual(["x", "y"])
  })

  it("gives DBSCAN's outliers the label −1, and says the radius", async () => {
    const given = [batchAt([0, 0.1, 0.2, 50]), batchAt([0.3, 10, 10.1, 10.2, 10.3], 4)]
    const out = await run(cluster(given, { algorithm: "dbscan", k1: 4, k2: 1, minSamples: 3 }))
    const labels = out["pseudo-labels"].map((batch) => [...viewOf(pseudoLabels, batch).label])
    expect(labels).toEqual([
      [0, 0, 0, -1],
      [0, 1, 1, 1, 1]
    ])
    for (const batch of out["pseudo-labels"])
      expect(metadataOf(pseudoLabels, batch, "")).toMatchObject({ success: { classes: 2, eps: 0.6 } })
    const { label, size } = viewOf(centroids, out.centroids[0]!)
    expect([[...label], [...size]]).toEqual([
      [0, 1],
      [4, 4]
    ])
  })

  it("keeps the independence that the first epoch asked for", async () => {
    const places = Array.from({ length: 60 }, (_, i) => 10 * (i % 6) + Math.sin(i * 12.9898))
    const params = { algorithm: "dbscan", k1: 6, k2: 2, minSamples: 3, eps: 0.5, epsGap: 0.2 } as const
    const first = (await run(cluster([batchAt(places)], params)))["pseudo-labels"]
    const kept = (batch: RecordBatch) => {
      const { eps, independence } = Result.getOrThrow(metadataOf(pseudoLabels, batch, ""))
      return { eps, independence }
    }
    expect(kept(first[0]!)).toEqual({ eps: 0.5, independence: expect.any(Number) })
    const asked = batchOf(pseudoLabels, { image: [], label: new Int32Array(0) }, { eps: 0.5, independence: 0.123 })
    const later = (await run(cluster([batchAt(places)], params, undefined, [asked])))["pseudo-labels"]
    expect(kept(later[0]!)).toEqual({ eps: 0.5, independence: 0.123 })
  })

  it.each([
    [
      "no cluster at all",
      { eps: 0.01, k1: 2, k2: 1 },
      undefined,
      undefined,
      "embeddings.arrow: DBSCAN found no cluster: at eps 0.01 and minSamples 4 all 6 images are outliers; choose a larger eps or k1, or a smaller minSamples"
    ],
    [
      "an automatic eps that the distances do not give",
      { eps: "auto", k1: 2, k2: 1 },
      undefined,
      undefined,
      "embeddings.arrow: the distances give an eps of NaN, which is no radius; give a number for eps"
    ],
    [
      "k-means' centroids",
      {},
      [startAt([0], [0])],
      undefined,
      "centroids.arrow: it is an input of kmeans alone; leave it out"
    ],
    [
      "first pseudo labels that k-means gave",
      { eps: "auto" },
      undefined,
      [batchOf(pseudoLabels, { image: ["a"], label: Int32Array.of(0) }, { classes: 1 })],
      "first.arrow: its metadata has no eps; expected the pseudo-labels that DBSCAN gave in the first epoch"
    ]
  ] as const)("DBSCAN refuses %s", async (_, params, start, first, message) => {
    const given = [batchAt([0, 10, 20, 30, 40, 50])]
    const error = await run(Effect.flip(cluster(given, { algorithm: "dbscan", ...params }, start, first)))
    expect(error.message).toBe(message)
  })

  it("refuses DBSCAN of a single image, and DBSCAN's labels for k-means", async () => {
    const one = await run(Effect.flip(cluster([batchAt([1])], { algorithm: "dbscan" })))
    expect(one.message).toBe("embeddings.arrow: there are only 1 images, expected 2 at least")
    const first = [batchOf(pseudoLabels, { image: ["a"], label: Int32Array.of(0) }, { eps: 0.5 })]
    const other = await run(Effect.flip(cluster([batchAt([1, 2])], { classes: 1 }, undefined, first)))
    expect(other.message).toBe("first.arrow: it is an input of dbscan alone; leave it out")
  })

  const vector = (values: ReadonlyArray<number>) =>
    batchOf(
      embeddings,
      {
        image: ["a.jpg", "b.jpg"],
        person: new Int32Array(2),
        camera: new Int32Array(2),
        embedding: Float32Array.from(values)
      },
      {}
    )

  it.each([
    [
      "more classes than images",
      [batchAt([0, 1])],
      { classes: 3 },
      undefined,
      'embeddings.arrow: parameter "classes" is 3, but there are only 2 images; choose at most as many'
    ],
    [
      "no images at all",
      [],
      { classes: 1 },
      undefined,
      'embeddings.arrow: parameter "classes" is 1, but there are only 0 images; choose at most as many'
    ],
    [
      "an embedding that is no number",
      [vector([0, 1, 2, Number.NaN])],
      { classes: 1 },
      undefined,
      'embeddings.arrow: column "embedding" of image "b.jpg" holds NaN, expected finite numbers'
    ],
    [
      "an infinite embedding",
      [vector([Number.NEGATIVE_INFINITY, 1, 2, 3])],
      { classes: 1 },
      undefined,
      'embeddings.arrow: column "embedding" of image "a.jpg" holds -Infinity, expected finite numbers'
    ],
    [
      "embeddings of different lengths",
      [batchAt([0, 1]), batchAt([2], 2, 3)],
      { classes: 1 },
      undefined,
      'embeddings.arrow: image "2.jpg" has 3 values, those before it 2'
    ],
    [
      "too few initial centroids",
      [batchAt([0, 1])],
      { classes: 2 },
      [startAt([0], [0])],
      'centroids.arrow: 1 initial centroids, expected as many as parameter "classes" says: 2'
    ],
    [
      "an initial centroid twice",
      [batchAt([0, 1])],
      { classes: 2 },
      [startAt([0, 0], [0, 1])],
      "centroids.arrow: label 0 with 2 values, expected each of 0 … 1 once with 2 values"
    ],
    [
      "initial centroids of another length",
      [batchAt([0, 1])],
      { classes: 2 },
      [startAt([0, 1], [0, 1], 3)],
      "centroids.arrow: label 0 with 3 values, expected each of 0 … 1 once with 2 values"
    ],
    [
      "an initial centroid that is no number",
      [batchAt([0, 1])],
      { classes: 2 },
      [startAt([0, 1], [0, Number.NaN])],
      "centroids.arrow: centroid 1 holds a value that is no finite number"
    ]
  ] as const)("refuses %s", async (_, given, params, start, message) => {
    const error = await run(Effect.flip(cluster(given, params, start)))
    expect(error.message).toBe(message)
  })

  it("refuses a missing column before it starts", async () => {
    const batch = batchAt([0, 1])
    const fields = batch.schema.fields.map((f) => (f.name === "embedding" ? new Field("embedding", new Int32()) : f))
    const wrong = new RecordBatch(new ArrowSchema(fields), batch.data)
    const error = await run(Effect.flip(cluster([wrong], { classes: 1 })))
    expect(error.message).toBe(
      'embeddings.arrow: column "embedding" of embeddings: expected fixed_size_list<float32>, found Int32'
    )
  })
})
