/** How the bench talks with a side, and what it says of one that fails. */
import { fileURLToPath } from "node:url"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { runProgram, startSide } from "../../bench/side-process.ts"

const file = fileURLToPath(new URL("echo-side.mjs", import.meta.url))
const introduction = { values: { losses: [1.5, 2] }, settings: "none", peakBytes: 7 }
const side = (said: unknown = introduction) =>
  startSide(process.execPath, { file, args: [typeof said === "string" ? said : JSON.stringify(said)] })

it.live("hears what a side computed, and how long it takes for what it is asked for", () =>
  Effect.gen(function* () {
    const echo = yield* side()
    expect(echo.introduction).toEqual(introduction)
    expect([yield* echo.time(3), yield* echo.time(5)]).toEqual([3, 5])
  }).pipe(Effect.scoped, Effect.provide(NodeServices.layer))
)

it.live("says how a side ended that does not answer, and what it wrote", () =>
  Effect.gen(function* () {
    const echo = yield* side()
    const { message } = yield* Effect.flip(echo.time(0))
    expect(message).toBe(`${file} ended too early, with exit code 3:\nnothing to do`)
  }).pipe(Effect.scoped, Effect.provide(NodeServices.layer))
)

it.live.each(["no JSON", '{"values": {"losses": [null]}, "settings": ""}', '{"settings": ""}'])(
  "takes %s for no introduction",
  (said) =>
    Effect.gen(function* () {
      const { message } = yield* Effect.flip(side(said))
      expect(message).toContain(`${file} answered what is no answer (`)
    }).pipe(Effect.scoped, Effect.provide(NodeServices.layer))
)

it.live("says why a program that prepares inputs failed, or that there is none", () =>
  Effect.gen(function* () {
    const failed = yield* Effect.flip(
      runProgram(process.execPath, { file: "-e", args: ["throw new Error('no room')"] })
    )
    expect(failed.message).toMatch(/^-e ended with exit code 1:\n[\s\S]*Error: no room/)
    const missing = yield* Effect.flip(runProgram("no-such-program", { file, args: [] }))
    expect(missing.message).toContain(`${file} cannot be started`)
  }).pipe(Effect.provide(NodeServices.layer))
)
