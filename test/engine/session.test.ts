/** The threads that TensorFlow is loaded with. */
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { threadsFor } from "#engine/session.ts"

describe("threadsFor", () => {
  it("gives each of two networks half the cores, and never more threads than there are", () => {
    expect(threadsFor(1)).toEqual({ intraOpThreads: 1, interOpThreads: 1 })
    expect(threadsFor(2)).toEqual({ intraOpThreads: 1, interOpThreads: 2 })
    expect(threadsFor(16)).toEqual({ intraOpThreads: 8, interOpThreads: 2 })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 512 }), (cores) => {
        const { intraOpThreads, interOpThreads } = threadsFor(cores)
        expect(intraOpThreads).toBeGreaterThan(0)
        expect(intraOpThreads * interOpThreads).toBeLessThanOrEqual(cores)
      })
    )
  })
})
