/** The seeded generator: fixed numbers, independence of keys, and the distributions it promises. */
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { normalQuantile, type Random, random } from "#data/random.ts"

const draw = (r: Random, n = 8) => Array.from({ length: n }, () => r.uint32())

const aKey = fc.oneof(fc.maxSafeInteger(), fc.string())
const aKeyList = fc.array(aKey, { maxLength: 5 })

/** Pearson's statistic of counts that should all be equal, in standard deviations from its mean. */
const chiSquareZ = (counts: ReadonlyArray<number>) => {
  const expected = counts.reduce((sum, n) => sum + n, 0) / counts.length
  const statistic = counts.reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0)
  return (statistic - (counts.length - 1)) / Math.sqrt(2 * (counts.length - 1))
}

describe("keys", () => {
  it("give these numbers on every machine", () => {
    expect(draw(random(), 3)).toEqual([3669097246, 2686751723, 3946059577])
    expect(draw(random(1, "target", 7, 3, 0), 3)).toEqual([1193313289, 2763741030, 1352609154])
    expect(draw(random(-1, 2 ** 40, "é"), 3)).toEqual([2006452403, 506825900, 3171593936])
  })

  it("start the same stream each time, and different streams when they differ", () => {
    fc.assert(
      fc.property(aKeyList, aKeyList, (one, other) => {
        expect(draw(random(...one))).toEqual(draw(random(...one)))
        const same = one.length === other.length && one.every((key, i) => Object.is(key, other[i]))
        expect(JSON.stringify(draw(random(...one))) === JSON.stringify(draw(random(...other)))).toBe(same)
      })
    )
  })

  it("are told apart by order, type, sign, high words and where strings end", () => {
    const streams = [
      [1, 2],
      [2, 1],
      ["1", 2],
      [1, "2"],
      [-1, 2],
      [2 ** 32 + 1, 2],
      [12],
      ["12"],
      ["1", "2"],
      ["", "12"],
      ["12", ""],
      [1, 2, 0],
      [0, 1, 2]
    ].map((key) => draw(random(...key)).join())
    expect(new Set(streams).size).toBe(streams.length)
  })

  it("refuse numbers that are no safe integers", () => {
    for (const key of [0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])
      expect(() => random(key)).toThrow("a random key must be a safe integer or a string")
  })

  it("extend by derive, whatever was drawn before", () => {
    fc.assert(
      fc.property(aKeyList, aKeyList, fc.nat(5), (one, more, draws) => {
        const parent = random(...one)
        draw(parent, draws)
        expect(draw(parent.derive(...more))).toEqual(draw(random(...one, ...more)))
      })
    )
  })

  it("that are neighbours share no bits", () => {
    const flips = new Array<number>(32).fill(0)
    const pairs = 4_000
    for (let i = 0; i < pairs; i++) {
      const differing = random(1, "image", i).uint32() ^ random(1, "image", i + 1).uint32()
      for (let bit = 0; bit < 32; bit++) flips[bit]! += (differing >>> bit) & 1
    }
    for (const flipped of flips) expect(Math.abs(flipped / pairs - 0.5)).toBeLessThan(0.04)
  })

  it("give first numbers that are uniform over consecutive keys", () => {
    const counts = new Array<number>(64).fill(0)
    for (let i = 0; i < 32_000; i++) counts[random(3, i).int(64)]!++
    expect(Math.abs(chiSquareZ(counts))).toBeLessThan(4)
  })
})

describe("draws", () => {
  it("of int are equally likely, also where n divides no power of two", () => {
    for (const n of [2, 3, 7, 100]) {
      const counts = new Array<number>(n).fill(0)
      const r = random("int", n)
      for (let i = 0; i < 500 * n; i++) counts[r.int(n)]!++
      expect(Math.abs(chiSquareZ(counts))).toBeLessThan(4)
    }
  })

  it("of int and uniform keep to their range", () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 2 ** 32 }), (seed, n) => {
        const r = random(seed)
        const drawn = r.int(n)
        expect(Number.isInteger(drawn) && drawn >= 0 && drawn < n).toBe(true)
        const real = r.uniform(-n, n)
        expect(real >= -n && real < n).toBe(true)
      })
    )
    for (const n of [0, -1, 1.5, 2 ** 32 + 1]) expect(() => random().int(n)).toThrow(RangeError)
  })

  it("of uniform have the mean and variance of a uniform number", () => {
    const r = random("uniform")
    const numbers = Array.from({ length: 20_000 }, () => r.uniform())
    const mean = numbers.reduce((sum, x) => sum + x, 0) / numbers.length
    const variance = numbers.reduce((sum, x) => sum + (x - mean) ** 2, 0) / numbers.length
    expect(mean).toBeCloseTo(0.5, 1.9)
    expect(variance).toBeCloseTo(1 / 12, 2)
  })

  it("of normal have mean 0, variance 1, no skew and a normal's tails", () => {
    const r = random("normal")
    const n = 40_000
    const moments = [0, 0, 0, 0]
    for (let i = 0; i < n; i++) {
      const x = r.normal()
      for (let power = 0; power < 4; power++) moments[power]! += x ** (power + 1) / n
    }
    expect(moments[0]).toBeCloseTo(0, 1.6)
    expect(moments[1]).toBeCloseTo(1, 1.3)
    expect(moments[2]).toBeCloseTo(0, 1)
    expect(Math.abs(moments[3]! - 3)).toBeLessThan(0.2)
  })

  it("of pick follow the weights, never an entry of weight 0", () => {
    const r = random("pick")
    const counts: Record<string, number> = { a: 0, b: 0, c: 0, d: 0 }
    for (let i = 0; i < 10_000; i++) counts[r.pick(["a", "b", "c", "d"], [3, 0, 1, 0])]!++
    expect(counts.a! / 10_000).toBeCloseTo(0.75, 1.6)
    expect(counts.b).toBe(0)
    expect(counts.d).toBe(0)
    expect(() => r.pick(["a"], [1, 2])).toThrow("1 entries and 2 weights")
    expect(() => r.pick([])).toThrow(RangeError)
  })

  it("of chance are as likely as told", () => {
    const r = random("chance")
    expect(Array.from({ length: 1000 }, () => r.chance(0)).some(Boolean)).toBe(false)
    expect(Array.from({ length: 1000 }, () => r.chance(1)).every(Boolean)).toBe(true)
    expect(Array.from({ length: 10_000 }, () => r.chance(0.3)).filter(Boolean).length / 10_000).toBeCloseTo(0.3, 1.6)
  })
})

describe("shuffle", () => {
  it("is a permutation and leaves its argument alone", () => {
    fc.assert(
      fc.property(fc.integer(), fc.array(fc.integer()), (seed, list) => {
        const before = [...list]
        const shuffled = random(seed).shuffle(list)
        expect(list).toEqual(before)
        expect(shuffled.toSorted((a, b) => a - b)).toEqual(before.toSorted((a, b) => a - b))
      })
    )
  })

  it("gives every order equally often", () => {
    const counts = new Map<string, number>()
    const r = random("shuffle")
    for (let i = 0; i < 12_000; i++) {
      const order = r.shuffle([1, 2, 3, 4]).join("")
      counts.set(order, (counts.get(order) ?? 0) + 1)
    }
    expect(counts.size).toBe(24)
    expect(Math.abs(chiSquareZ([...counts.values()]))).toBeLessThan(4)
  })
})

it("normalQuantile agrees with the tables", () => {
  const table: ReadonlyArray<readonly [number, number]> = [
    [0.5, 0],
    [0.75, 0.6744897502],
    [0.925, 1.4395314709],
    [0.975, 1.9599639845],
    [0.999, 3.0902323062],
    [1e-7, -5.1993375822],
    [1e-12, -7.0344838253]
  ]
  for (const [p, x] of table) expect(normalQuantile(p)).toBeCloseTo(x, 6)
})
