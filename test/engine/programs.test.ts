import { Effect } from "effect"
import { expect, it } from "vitest"
import type { Program } from "#engine/compile.ts"
import { Programs } from "#engine/programs.ts"

/** Programs that say when they are made and freed. */
const recorded = () => {
  const log: Array<string> = []
  const make = (name: string) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        log.push(`made ${name}`)
        return { nodes: name.length } as Program<never>
      }),
      () => Effect.sync(() => void log.push(`freed ${name}`))
    )
  return { log, make }
}

const withPrograms = (body: (programs: Programs["Service"]) => Effect.Effect<unknown, unknown>) =>
  Effect.runPromise(Effect.flatMap(Programs, body).pipe(Effect.provide(Programs.layer)))

it("are made once for a key and freed in the end", async () => {
  const { log, make } = recorded()
  await withPrograms((programs) =>
    Effect.gen(function* () {
      const first = yield* programs.of("a", make("a"))
      expect(yield* programs.of("a", make("another a"))).toBe(first)
      expect(log).toEqual(["made a"])
    })
  )
  expect(log).toEqual(["made a", "freed a"])
})

it("are held up to four, the one used longest ago goes first", async () => {
  const { log, make } = recorded()
  await withPrograms((programs) =>
    Effect.gen(function* () {
      for (const name of ["a", "b", "c", "d", "a", "e"]) yield* programs.of(name, make(name))
      expect(log).toEqual(["made a", "made b", "made c", "made d", "freed b", "made e"])
    })
  )
})

it("of one family are held one at a time: the old one is freed before the new one is made", async () => {
  const { log, make } = recorded()
  await withPrograms((programs) =>
    Effect.gen(function* () {
      yield* programs.of("embed", make("embed"))
      for (const classes of [90, 91, 92]) yield* programs.of(`train ${classes}`, make(`train ${classes}`), "train")
      expect(log).toEqual([
        "made embed",
        "made train 90",
        ...["freed train 90", "made train 91", "freed train 91", "made train 92"]
      ])
    })
  )
})
