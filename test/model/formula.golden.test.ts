import { describe, expect, it } from "vitest"
import { expectWithin, formulaHash, formulaNumber, formulaSamples, formulaTensor } from "../golden-values.ts"

describe("the golden set's formula", () => {
  it.each(formulaSamples)("gives hash($salt, $k, $i) = $u32", ({ salt, k, i, u32, r }) => {
    expect(formulaHash(salt, k, i)).toBe(u32)
    expect(formulaNumber(salt, k, i)).toBe(r)
  })

  it("fills tensors by the first rule that fits their name", () => {
    const first = (name: string, shape: ReadonlyArray<number>) => formulaTensor(1, { k: 0, name, shape })[0]!
    const r = formulaNumber(1, 0, 0)
    expect(first("bn1.num_batches_tracked", [])).toBe(0)
    expect(first("bn1.running_mean", [4])).toBe(Math.fround(0.125 * r))
    expect(first("bn1.running_var", [4])).toBe(Math.fround(2 + 0.5 * r))
    expect(first("head.feat_bn.bias", [4])).toBe(0)
    expect(first("bn1.bias", [4])).toBe(Math.fround(0.125 * r))
    expect(first("layer1.0.bn3.weight", [4])).toBe(Math.fround(0.25 + 0.0625 * r))
    expect(first("bn1.weight", [4])).toBe(Math.fround(1 + 0.125 * r))
    expect(first("conv1.weight", [2, 3, 1, 1])).toBe(Math.fround(Math.fround(Math.sqrt(2)) * r))
  })
})

describe("the golden comparison", () => {
  it("passes at the tolerance and tells how much of it was used", () => {
    expect(expectWithin("case output", [1, 10.75], [1, 10], { abs: 0.5, rel: 0.05 })).toBe(0.75)
    expect(expectWithin("case output", [3], [3], "exact")).toBe(0)
  })

  it("names case, output, index and both values where it fails", () => {
    expect(() => expectWithin("kmeans labels", [1, 2], [1, 3], "exact")).toThrow(
      "kmeans labels[1]: found 2, expected 3: off by 1, allowed 0"
    )
    expect(() => expectWithin("adam w", [Number.NaN], [1], { abs: 1, rel: 1 })).toThrow("adam w[0]: found NaN")
    expect(() => expectWithin("adam w", [1], [1, 2], "exact")).toThrow("adam w: 1 values, expected 2")
  })
})
