import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { type SamplerInput, sampleBatches, samplerPass } from "#data/identity-sampler.ts"

/** Some images: label −1 … 5, camera 1 … 3. */
const imageSet = fc.array(
  fc.record({ label: fc.integer({ min: -1, max: 5 }), camera: fc.integer({ min: 1, max: 3 }) }),
  {
    minLength: 1,
    maxLength: 60
  }
)

const sampler = fc
  .record({ images: imageSet, instances: fc.integer({ min: 1, max: 5 }), seed: fc.integer(), epoch: fc.nat(100) })
  .map(
    ({ images, instances, seed, epoch }): SamplerInput => ({
      labels: images.map(({ label }) => label),
      cameras: images.map(({ camera }) => camera),
      instances,
      batchSize: 2 * instances,
      seed,
      epoch
    })
  )

/** The pass cut into the groups of its identities: an identity of a single image has only that one. */
const groupsOf = ({ labels, instances }: SamplerInput, pass: ReadonlyArray<number>) => {
  const count = (label: number) => Array.from(labels).filter((l) => l === label).length
  const groups: Array<ReadonlyArray<number>> = []
  for (let at = 0; at < pass.length; at += groups.at(-1)!.length)
    groups.push(pass.slice(at, at + (count(labels[pass[at]!]!) === 1 ? 1 : instances)))
  return groups
}

describe("samplerPass", () => {
  it("visits every identity once, with K of its images or its only one; outliers never", () => {
    fc.assert(
      fc.property(sampler, (input) => {
        const { labels } = input
        const groups = groupsOf(input, samplerPass(input, 0))
        for (const group of groups) expect(new Set(group.map((row) => labels[row])).size).toBe(1)
        const visited = groups.map((group) => labels[group[0]!]!)
        expect(visited.toSorted()).toEqual([...new Set(Array.from(labels))].filter((l) => l >= 0).toSorted())
      })
    )
  })

  it("takes the others from other cameras than the first, where there are any", () => {
    fc.assert(
      fc.property(sampler, (input) => {
        const { labels, cameras, instances } = input
        for (const [first, ...rest] of groupsOf(input, samplerPass(input, 0))) {
          const rows = Array.from(labels).flatMap((label, row) => (label === labels[first!] ? [row] : []))
          const elsewhere = rows.filter((row) => cameras[row] !== cameras[first!])
          const candidates = elsewhere.length > 0 ? elsewhere : rows.filter((row) => row !== first)
          for (const row of rest) expect(candidates).toContain(row)
          if (candidates.length >= instances) expect(new Set(rest).size).toBe(rest.length)
        }
      })
    )
  })

  it("takes K different images where all are of one camera, as those of an unlabelled folder may be", () => {
    const labels = Array.from({ length: 24 }, (_, row) => row % 4)
    const input = { labels, cameras: labels.map(() => 1), instances: 4, batchSize: 16, seed: 1, epoch: 1 }
    for (const group of groupsOf(input, samplerPass(input, 0))) expect(new Set(group).size).toBe(4)
    expect(sampleBatches(input).take(3).toArray()).toHaveLength(3)
  })

  it("is the same for the same seed, epoch and pass, and another for other ones", () => {
    const input: SamplerInput = {
      labels: Array.from({ length: 200 }, (_, row) => row % 20),
      cameras: Array.from({ length: 200 }, (_, row) => row % 3),
      instances: 4,
      batchSize: 16,
      seed: 7,
      epoch: 3
    }
    expect(samplerPass(input, 0)).toEqual(samplerPass({ ...input }, 0))
    const others = [
      samplerPass(input, 1),
      samplerPass({ ...input, seed: 8 }, 0),
      samplerPass({ ...input, epoch: 4 }, 0)
    ]
    for (const other of others) expect(other).not.toEqual(samplerPass(input, 0))
  })

  it("repeats images where another camera has exactly K − 1 of them, as the reference does", () => {
    const input = { labels: [0, 0, 0, 0], cameras: [1, 2, 2, 2], instances: 4, batchSize: 4, seed: 1 }
    const repeated = Array.from({ length: 200 }, (_, epoch) => samplerPass({ ...input, epoch }, 0))
      .filter(([first]) => first === 0)
      .some((group) => new Set(group).size < 4)
    expect(repeated).toBe(true)
  })

  it("gives every image of an identity its turn", () => {
    const input = {
      labels: Array(9).fill(0),
      cameras: [1, 1, 1, 2, 2, 2, 3, 3, 3],
      instances: 4,
      batchSize: 4,
      seed: 1
    }
    const seen = new Set(Array.from({ length: 60 }, (_, epoch) => samplerPass({ ...input, epoch }, 0)).flat())
    expect(seen.size).toBe(9)
  })
})

describe("sampleBatches", () => {
  it("cuts passes into whole batches of P × K rows", () => {
    fc.assert(
      fc.property(sampler, (input) => {
        const batches = [...sampleBatches(input).take(5)]
        const pass = samplerPass(input, 0)
        expect(batches.length).toBe(pass.length < input.batchSize ? 0 : 5)
        for (const batch of batches) expect(batch.length).toBe(input.batchSize)
        const whole = Math.floor(pass.length / input.batchSize)
        for (const [i, batch] of batches.slice(0, whole).entries())
          expect(batch).toEqual(pass.slice(i * input.batchSize, (i + 1) * input.batchSize))
      })
    )
  })

  it("with whole identities, each batch holds P labels K times", () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 4, max: 9 }), (seed, identities) => {
        const labels = Array.from({ length: identities * 6 }, (_, row) => row % identities)
        const cameras = labels.map((_, row) => row % 4)
        for (const batch of sampleBatches({ labels, cameras, instances: 4, batchSize: 16, seed, epoch: 1 }).take(6)) {
          const counts = Map.groupBy(batch, (row) => labels[row])
          expect([...counts.values()].map((rows) => rows.length)).toEqual([4, 4, 4, 4])
        }
      })
    )
  })

  it("begins a new pass in another order when one ends", () => {
    const labels = Array.from({ length: 48 }, (_, row) => row % 8)
    const input = { labels, cameras: labels, instances: 4, batchSize: 32, seed: 1, epoch: 1 }
    const [first, second] = sampleBatches(input).take(2).toArray()
    expect(second).toEqual(samplerPass(input, 1))
    expect(second).not.toEqual(first)
  })

  it("ends at once where a pass does not fill a batch", () => {
    const input = { labels: [0, 0, 1, -1], cameras: [1, 2, 1, 1], instances: 2, batchSize: 4, seed: 1, epoch: 1 }
    expect([...sampleBatches(input)]).toEqual([])
    expect([...sampleBatches({ ...input, labels: [-1, -1, -1, -1] })]).toEqual([])
  })
})
