/** The CPU's own op for the greatest values of rows and columns, against tfjs's ops. */
import { Effect } from "effect"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { composedGreatest, fusedGreatest, type Greatest, type GreatestOf } from "#engine/greatest.ts"
import { Session, type SessionShape } from "#engine/session.ts"
import { run } from "../stages/run-stage.ts"

const withSession = (body: (session: SessionShape) => void) =>
  run(Effect.map(Session, (session) => session.tf.tidy(() => body(session))))

interface Case {
  readonly height: number
  readonly width: number
  readonly values: ReadonlyArray<number>
  readonly count: number
  readonly floor: number
}

// Few different values, so that many are equal.
const cases: fc.Arbitrary<Case> = fc
  .record({ height: fc.integer({ min: 1, max: 9 }), width: fc.integer({ min: 1, max: 70 }) })
  .chain(({ height, width }) =>
    fc.record({
      height: fc.constant(height),
      width: fc.constant(width),
      values: fc.array(fc.integer({ min: -9, max: 9 }), { minLength: height * width, maxLength: height * width }),
      count: fc.integer({ min: 1, max: Math.min(height, width) }),
      floor: fc.integer({ min: -10, max: 5 })
    })
  )

/** The entries of each list that are above the floor. */
const above = ({ values, indices }: Greatest, floor: number) => {
  const where = indices.arraySync()
  return values
    .arraySync()
    .map((list, of) => list.flatMap((value, at) => (value > floor ? [[value, where[of]![at]]] : [])))
}

const found = (tf: SessionShape["tf"], greatest: GreatestOf, { height, width, values, count, floor }: Case) => {
  const floors = (of: number) => tf.fill<typeof tf.Rank.R1>([of], floor) as ReturnType<typeof tf.tensor1d>
  const matrix = tf.tensor2d([...values], [height, width], "float32")
  const { rows, columns } = greatest(tf, matrix, count, { rows: floors(height), columns: floors(width) })
  return { rows: above(rows, floor), columns: above(columns, floor) }
}

describe("the greatest values of rows and columns", () => {
  it("are those of tfjs's ops, the first of equal ones first, as far as they are above the floors", () =>
    withSession(({ tf }) =>
      fc.assert(
        fc.property(cases, (given) => {
          const [fused, composed] = [fusedGreatest, composedGreatest].map((of) => tf.tidy(() => found(tf, of, given)))
          expect(fused).toEqual(composed)
        }),
        { numRuns: 200 }
      )
    ))

  it("fill the rest of a list with −∞ where no more are above its floor", () =>
    withSession(({ tf }) => {
      const matrix = tf.tensor2d([1, 5, 3, 2, 9, 4], [2, 3])
      const floors = { rows: tf.tensor1d([2, 9]), columns: tf.tensor1d([0, 5, 9]) }
      const { rows, columns } = fusedGreatest(tf, matrix, 3, floors)
      const none = Number.NEGATIVE_INFINITY
      expect(rows.values.arraySync()).toEqual([
        [5, 3, none],
        [none, none, none]
      ])
      expect(columns.values.arraySync()).toEqual([
        [2, 1, none],
        [9, none, none],
        [none, none, none]
      ])
    }))

  it("refuse floors of another number, without an end of the process", () =>
    withSession(({ tf }) => {
      const [two, three] = [tf.tensor1d([0, 0]), tf.tensor1d([0, 0, 0])]
      const of = (rows: typeof two, columns: typeof two) => () =>
        fusedGreatest(tf, tf.zeros([2, 3]), 1, { rows, columns })
      for (const wrong of [of(three, three), of(two, two)])
        expect(wrong).toThrow("expected a floor for each row and for each column")
    }))
})
