import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { type LearningRateSchedule, learningRate } from "#model/learning-rate.ts"

const paper: LearningRateSchedule = { base: 3.5e-4, warmupEpochs: 10, milestones: [40, 70], factor: 0.1 }

describe("learningRate", () => {
  it("is constant without warm-up and milestones", () => {
    const constant = { ...paper, warmupEpochs: 0, milestones: [] }
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), fc.nat(399), (epoch, iteration) => {
        expect(learningRate(constant, epoch, iteration, 400)).toBe(3.5e-4)
      })
    )
  })

  it("grows in proportion to the iterations over the warm-up and reaches the base at its end", () => {
    expect(learningRate(paper, 1, 0, 200)).toBeCloseTo(3.5e-4 / 2000, 12)
    expect(learningRate(paper, 5, 199, 200)).toBeCloseTo(3.5e-4 / 2, 12)
    expect(learningRate(paper, 10, 199, 200)).toBe(3.5e-4)
    expect(learningRate(paper, 11, 0, 200)).toBe(3.5e-4)
  })

  it("falls by the factor after each milestone", () => {
    expect(learningRate(paper, 40, 199, 200)).toBe(3.5e-4)
    expect(learningRate(paper, 41, 0, 200)).toBeCloseTo(3.5e-5, 12)
    expect(learningRate(paper, 70, 199, 200)).toBeCloseTo(3.5e-5, 12)
    expect(learningRate(paper, 71, 0, 200)).toBeCloseTo(3.5e-6, 12)
    expect(learningRate(paper, 80, 199, 200)).toBeCloseTo(3.5e-6, 12)
  })

  it("never grows after the warm-up, never falls within it, and stays positive", () => {
    const schedule = fc.record({
      base: fc.double({ min: 1e-6, max: 1, noNaN: true }),
      warmupEpochs: fc.nat(5),
      milestones: fc.array(fc.integer({ min: 5, max: 20 }), { maxLength: 3 }),
      factor: fc.double({ min: 0.01, max: 1, noNaN: true })
    })
    fc.assert(
      fc.property(schedule, fc.integer({ min: 1, max: 7 }), (given, iterations) => {
        const rates = Array.from({ length: 22 * iterations }, (_, done) =>
          learningRate(given, 1 + Math.floor(done / iterations), done % iterations, iterations)
        )
        for (let i = 1; i < rates.length; i++) {
          expect(rates[i]).toBeGreaterThan(0)
          if (i < given.warmupEpochs * iterations) expect(rates[i]).toBeGreaterThanOrEqual(rates[i - 1]!)
          else expect(rates[i]).toBeLessThanOrEqual(rates[i - 1]! * (1 + 1e-12))
        }
      })
    )
  })
})
