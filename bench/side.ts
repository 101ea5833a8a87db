/** One side of a comparison: a process that computes the case's values, then times as many units as it is asked for. */
import { readFileSync } from "node:fs"
import { createInterface } from "node:readline"
import { Effect, Schema } from "effect"

/** What a side says once: lists of numbers by name, which both sides must agree on, and how it was set up. */
export const Introduction = Schema.Struct({
  values: Schema.Record(Schema.String, Schema.Array(Schema.Finite)),
  /** Versions, threads, memory layout. */
  settings: Schema.String,
  /** Seconds from the start of the process to the end of its first unit of work. */
  firstStep: Schema.optionalKey(Schema.Finite),
  /** The most memory that the process has held up to now. */
  peakBytes: Schema.optionalKey(Schema.Finite)
})
export type Introduction = typeof Introduction.Type
export type Values = Introduction["values"]

/** What a side answers to each number of units. */
export const Timing = Schema.Struct({ seconds: Schema.Finite })

/** The most resident memory that this process has held so far, in bytes; Linux only. */
export const peakBytes = (): number =>
  Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))![1]) * 1024

/** Our end: says what it computed, then does `count` units for each line, and times them. Ends with the input. */
export const serve = <E, R>(
  values: Values,
  settings: string,
  work: (count: number) => Effect.Effect<unknown, E, R>,
  measured: Pick<Introduction, "firstStep" | "peakBytes"> = {}
) =>
  Effect.gen(function* () {
    const say = (message: object) => process.stdout.write(`${JSON.stringify(message)}\n`)
    const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
    say({ values, settings, ...measured } satisfies Introduction)
    for (;;) {
      const line = yield* Effect.promise(() => lines.next())
      if (line.done) return
      const start = performance.now()
      yield* work(Number(line.value))
      say({ seconds: (performance.now() - start) / 1000 } satisfies typeof Timing.Type)
    }
  })
