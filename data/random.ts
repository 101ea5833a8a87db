/**
 * Seeded random numbers that are addressed, not consumed: a generator belongs to a list of integers and strings, as in
 * `random(seed, "target", person, camera, index)`, so what one place draws never depends on what another drew before, on
 * the order of work or on the number of workers. 32-bit integer arithmetic throughout: the same numbers on every machine.
 */

/** A part of a generator's address: a safe integer or a string. `1` and `"1"` are different keys. */
export type Key = number | string

const TWO_32 = 2 ** 32

/** What marks a key as integer or string, so that no two lists of keys are the same sequence of words. */
const INTEGER = 0x49
const STRING = 0x53

/**
 * A stream of random numbers: sfc32 of Doty-Humphrey's PractRand (128 bits of state, a 32-bit counter among them). The
 * keys enter by the same permutation used as a sponge: a word is added to the state, then the state is stirred.
 */
export class Random {
  // A typed array keeps the words unboxed: twice as fast as four fields.
  private readonly state: Int32Array
  private readonly absorbed: Int32Array

  /** Use `random(...key)`, or `derive` of another generator. */
  constructor(from: Int32Array, keys: ReadonlyArray<Key>) {
    this.state = from.slice()
    for (const key of keys) this.absorb(key)
    this.absorbed = this.state.slice()
    // After 12 rounds every bit of the state has reached every other (the author's advice for seeding).
    this.stir(12)
  }

  private absorb(key: Key): void {
    if (typeof key === "number") {
      if (!Number.isSafeInteger(key))
        throw new RangeError(`a random key must be a safe integer or a string, not ${key}`)
      this.absorbWord(INTEGER)
      this.absorbWord(key | 0)
      this.absorbWord(Math.floor(key / TWO_32) | 0)
    } else {
      this.absorbWord(STRING)
      this.absorbWord(key.length)
      for (let i = 0; i < key.length; i++) this.absorbWord(key.charCodeAt(i))
    }
  }

  private absorbWord(word: number): void {
    this.state[0]! ^= word
    this.stir(4)
  }

  private stir(rounds: number): void {
    for (let i = 0; i < rounds; i++) this.uint32()
  }

  /** The generator at this one's address with more keys: `random(1).derive("a")` is `random(1, "a")`. Draws do not matter. */
  derive(...key: ReadonlyArray<Key>): Random {
    return new Random(this.absorbed, key)
  }

  /** An integer in [0, 2³²). */
  uint32(): number {
    const state = this.state
    const b = state[1]!
    const c = state[2]!
    const counter = state[3]!
    const sum = (state[0]! + b + counter) | 0
    state[0] = b ^ (b >>> 9)
    state[1] = c + (c << 3)
    state[2] = ((c << 21) | (c >>> 11)) + sum
    state[3] = counter + 1
    return sum >>> 0
  }

  /** A number in [lo, hi), one of 2³² steps. */
  uniform(lo = 0, hi = 1): number {
    return lo + (hi - lo) * (this.uint32() / TWO_32)
  }

  /** True with the given probability. */
  chance(probability: number): boolean {
    return this.uint32() < probability * TWO_32
  }

  /** An integer in [0, n), every one equally likely; n is an integer from 1 to 2³². */
  int(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > TWO_32)
      throw new RangeError(`int(n) needs an integer from 1 to 2^32, not ${n}`)
    // Draws above the largest multiple of n are drawn again: they would favour the small results.
    const limit = TWO_32 - (TWO_32 % n)
    let draw = this.uint32()
    while (draw >= limit) draw = this.uint32()
    return draw % n
  }

  /** One entry of the list; with weights (one for each entry, of any sum), in proportion to them. */
  pick<A>(list: ReadonlyArray<A>, weights?: ReadonlyArray<number>): A {
    if (weights === undefined) return list[this.int(list.length)] as A
    if (weights.length !== list.length)
      throw new RangeError(`pick got ${list.length} entries and ${weights.length} weights`)
    let left = this.uniform(
      0,
      weights.reduce((sum, weight) => sum + weight, 0)
    )
    for (let i = 0; i < list.length - 1; i++) {
      left -= weights[i]!
      if (left < 0) return list[i] as A
    }
    return list[list.length - 1] as A
  }

  /** A number of the standard normal distribution. */
  normal(): number {
    return normalQuantile((this.uint32() + 0.5) / TWO_32)
  }

  /** A new array with the same entries in random order (Fisher and Yates). */
  shuffle<A>(list: ReadonlyArray<A>): Array<A> {
    const shuffled = list.slice()
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = this.int(i + 1)
      const kept = shuffled[i] as A
      shuffled[i] = shuffled[j] as A
      shuffled[j] = kept
    }
    return shuffled
  }
}

/** The first 128 bits of π's fraction: numbers with nothing up the sleeve. */
const START = Int32Array.of(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344)

/**
 * The generator that belongs to this list of keys; it always starts at the same numbers.
 *
 * @example
 * const shot = random(seed, "target", person, camera, index)
 * const view = shot.pick(["front", "side", "back"], [0.35, 0.3, 0.35])
 */
export const random = (...key: ReadonlyArray<Key>): Random => new Random(START, key)

/**
 * The x below which a standard normal number lies with probability p, 0 < p < 1, to 7 digits (Wichura, algorithm
 * AS 241, PPND7). In the middle 85 % it takes nothing but the four operations, which round the same everywhere.
 */
export const normalQuantile = (p: number): number => {
  const q = p - 0.5
  if (Math.abs(q) <= 0.425) {
    const r = 0.180625 - q * q
    return (
      (q * (((59.10937472 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179)) /
      (((67.1875636 * r + 78.757757664) * r + 17.895169469) * r + 1)
    )
  }
  const tail = Math.sqrt(-Math.log(q < 0 ? p : 1 - p))
  const x =
    tail <= 5
      ? (((0.17023821103 * (tail - 1.6) + 1.3067284816) * (tail - 1.6) + 2.75681539) * (tail - 1.6) + 1.4234372777) /
        ((0.12021132975 * (tail - 1.6) + 0.7370016425) * (tail - 1.6) + 1)
      : (((0.017337203997 * (tail - 5) + 0.42868294337) * (tail - 5) + 3.081226386) * (tail - 5) + 6.657905115) /
        ((0.012258202635 * (tail - 5) + 0.24197894225) * (tail - 5) + 1)
  return q < 0 ? -x : x
}
