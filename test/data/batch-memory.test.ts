import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { describe, expect, it, onTestFinished, vi } from "vitest"
import { BatchMemory } from "#data/batch-memory.ts"

setFlagsFromString("--expose-gc")
const collectGarbage = runInNewContext("gc") as () => void

/** Another buffer object of the same memory, as a thread sends it back. */
const sentBack = (memory: SharedArrayBuffer) => structuredClone(memory)

/** Until the collected batches' memory is back. */
const settle = async () => {
  for (let i = 0; i < 3; i++) {
    collectGarbage()
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
  }
}

const fill = (memories: BatchMemory, bytes: number) => {
  const taken: Array<SharedArrayBuffer> = []
  for (let memory = memories.take(bytes); memory !== undefined; memory = memories.take(bytes)) taken.push(memory)
  return taken
}

describe("BatchMemory", () => {
  it("lends as many bytes as may be lent, to batches of any size", () => {
    const memories = new BatchMemory(100)
    expect([60, 41, 30, 11, 10].map((bytes) => memories.take(bytes)?.byteLength)).toEqual([
      60,
      undefined,
      30,
      undefined,
      10
    ])
  })

  it("lends memory of the size asked for, up to a bound", () => {
    const taken = fill(new BatchMemory(16 * 24), 24)
    expect(taken.length).toBe(16)
    expect(taken.map(({ byteLength }) => byteLength)).toEqual(Array(16).fill(24))
    expect(new Set(taken).size).toBe(16)
  })

  it("lends it again once no view of the batch is left, and never while one is", async () => {
    const memories = new BatchMemory(16 * 24)
    const taken = fill(memories, 24)
    // Of the first batch a part is kept, of the rest nothing.
    const kept = (() => {
      const batches = taken.map((memory) => {
        const buffer = sentBack(memory)
        memories.returnAfter(buffer, memory)
        return new Float32Array(buffer).subarray(2)
      })
      return batches[0]!
    })()
    kept.fill(1)
    await settle()
    const again = fill(memories, 24)
    expect(new Set(again)).toEqual(new Set(taken.slice(1)))
    for (const memory of again) new Float32Array(memory).fill(2)
    expect([...kept]).toEqual([1, 1, 1, 1])
  })

  it("calls the collector by itself", async () => {
    const memories = new BatchMemory(16 * 24)
    let collected = 0
    const registry = new FinalizationRegistry(() => collected++)
    for (let i = 0; i < 200 && collected === 0; i++) {
      const memory = memories.take(24)
      if (memory !== undefined) {
        const batch = sentBack(memory)
        registry.register(batch, undefined)
        memories.returnAfter(batch, memory)
      }
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    expect(collected).toBeGreaterThan(0)
  })

  it("makes new memory where batches of another size came back", async () => {
    const memories = new BatchMemory(16 * 24)
    for (const memory of fill(memories, 24)) memories.returnAfter(sentBack(memory), memory)
    await settle()
    expect(fill(memories, 48).map(({ byteLength }) => byteLength)).toEqual(Array(8).fill(48))
  })

  it("does not lend dropped memory again, but other memory in its place", () => {
    const memories = new BatchMemory(16 * 24)
    const taken = fill(memories, 24)
    memories.drop(taken[0]!)
    const [next, ...more] = fill(memories, 24)
    expect(more).toEqual([])
    expect(taken).not.toContain(next)
  })

  it("keeps returned memory for five seconds, and lets it go then", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
    onTestFinished(() => void vi.useRealTimers())
    const memories = new BatchMemory(16 * 24)
    const lendAndReturn = async () => {
      const taken = fill(memories, 24)
      for (const memory of taken) memories.returnAfter(sentBack(memory), memory)
      await settle()
      return new Set(taken)
    }
    const taken = await lendAndReturn()
    vi.advanceTimersByTime(4_999)
    expect(await lendAndReturn()).toEqual(taken)
    vi.advanceTimersByTime(4_999)
    const kept = await lendAndReturn()
    expect(kept).toEqual(taken)
    vi.advanceTimersByTime(5_000)
    expect([...(await lendAndReturn())].filter((memory) => taken.has(memory))).toEqual([])
  })
})
