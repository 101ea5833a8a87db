import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Duration, Effect } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { AugmentJob } from "#data/augment-worker.ts"
import { augment, imagenetNormalisation, normalisationTable } from "#data/augmentation.ts"
import { AugmentationPool } from "#data/augmentation-pool.ts"
import { random } from "#data/random.ts"

const size = { height: 8, width: 4 }
const bytes = size.height * size.width * 3
const rows = 6
const pixels = Uint8Array.from({ length: rows * bytes }, (_, at) => (at * 13) % 256)

let folder: string
let file: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "pool-"))
  file = join(folder, "pixels")
  await writeFile(file, Buffer.concat([Buffer.alloc(100), pixels]))
})
afterAll(() => rm(folder, { recursive: true }))

const job = (iteration: number, of: Partial<AugmentJob> = {}): AugmentJob => ({
  places: [3, 0, 5, 5].map((row) => ({ file, offset: 100 + row * bytes })),
  views: 2,
  size,
  augmentation: { flip: 0.5, pad: 2, erase: 0.5 },
  normalisation: imagenetNormalisation,
  seed: 1,
  epoch: 2,
  iteration,
  ...of
})

const withPool = <A, E>(threads: number, effect: Effect.Effect<A, E, AugmentationPool>) =>
  Effect.runPromise(effect.pipe(Effect.provide(AugmentationPool.layer(threads))))

const batches = (threads: number) =>
  withPool(
    threads,
    Effect.gen(function* () {
      const pool = yield* AugmentationPool
      return yield* Effect.forEach([0, 1, 2, 3, 4, 5], (iteration) => pool.run(job(iteration)), {
        concurrency: threads + 1
      })
    })
  )

describe("AugmentationPool", () => {
  it("gives the same batches with one thread and with three", async () => {
    expect(await batches(3)).toEqual(await batches(1))
  })

  it("reads each row at its place and augments it by the numbers of its iteration, position and view", async () => {
    const [found] = (await batches(1)).slice(4)
    const table = normalisationTable(imagenetNormalisation)
    const expected = new Float32Array(2 * 4 * bytes)
    for (const view of [0, 1])
      for (const [position, row] of [3, 0, 5, 5].entries()) {
        const own = pixels.subarray(row * bytes, (row + 1) * bytes)
        const out = expected.subarray((view * 4 + position) * bytes, (view * 4 + position + 1) * bytes)
        augment(own, size, job(4).augmentation, table, random(1, "augment", 2, 4, position, view), out)
      }
    expect(found).toEqual(expected)
  })

  it("fails with the iteration and the file where a file ends before the pixels", async () => {
    const short = join(folder, "short")
    await writeFile(short, pixels)
    await truncate(short, 100)
    const places = [{ file: short, offset: 90 }]
    const run = Effect.flatMap(AugmentationPool, (pool) => Effect.flip(pool.run(job(7, { places }))))
    const error = await withPool(1, run)
    expect(error.message).toBe(
      `iteration 7: the batch could not be augmented: ${short}: ends before the pixels at byte 90; was it changed meanwhile?`
    )
  })

  it("goes on after a failed batch", async () => {
    const missing = [{ file: join(folder, "missing"), offset: 0 }]
    const run = Effect.gen(function* () {
      const pool = yield* AugmentationPool
      const error = yield* Effect.flip(pool.run(job(0, { places: missing })))
      return { error, values: yield* pool.run(job(1)) }
    })
    const { error, values } = await withPool(1, run)
    expect(error._tag).toBe("AugmentationFailed")
    expect(error.message).toContain("ENOENT")
    expect(values.length).toBe(2 * 4 * bytes)
  })

  const failing = (how: string, name: string) => {
    const asked = join(folder, name)
    const settings = {
      patience: Duration.millis(300),
      worker: new URL("./failing-worker.mjs", import.meta.url)
    }
    const places = [asked, how].map((file) => ({ file, offset: 0 }))
    return Effect.runPromise(
      Effect.flatMap(AugmentationPool, (pool) => Effect.result(pool.run(job(3, { places })))).pipe(
        Effect.provide(AugmentationPool.layer(1, settings))
      )
    )
  }

  it.each(["die", "hang"])("makes a batch again whose thread does this, twice: %s", async (how) => {
    expect(await failing(`${how} 2`, `${how}-2`)).toMatchObject({ success: Float32Array.of(3) })
  })

  it("fails where threads die on and on", async () => {
    expect(await failing("die 9", "die-9")).toMatchObject({
      failure: { message: "iteration 3: the batch could not be augmented: worker exited with code: 3" }
    })
  })

  it("fails where threads hang on and on", async () => {
    expect(await failing("hang 9", "hang-9")).toMatchObject({
      failure: { message: "iteration 3: the batch could not be augmented: no answer of its thread in 300ms" }
    })
  })
})
