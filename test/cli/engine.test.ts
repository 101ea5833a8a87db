/** `mmt engine`: what it prints, and that it fails where there is no engine to set up. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Command } from "effect/cli"
import { TestConsole } from "effect/testing"
import { vi } from "vitest"
import { engine } from "#cli/engine.ts"

const layer = Layer.mergeAll(NodeServices.layer, TestConsole.layer)

const mmt = (...args: ReadonlyArray<string>) =>
  Command.runWith(engine, { version: "test" })(args).pipe(
    Effect.andThen(TestConsole.logLines),
    Effect.map((lines) => lines.join("\n"))
  )

it.effect("check says what TensorFlow is and what it computed", () =>
  mmt("check").pipe(
    Effect.map((printed) =>
      expect(printed).toMatch(
        /^TensorFlow 2\.21\.0 on .+, \d+ threads an op, \d+ ops at a time\nconvolution: 37 47 67 77, as expected\ngradient by the image: 1 3 2 4 10 6 3 7 4, as expected\ngradient by the kernel: 12 16 24 28, as expected$/
      )
    ),
    Effect.provide(layer)
  )
)

it.effect("install says that nothing was to be done", () =>
  mmt("install").pipe(
    Effect.map((printed) => expect(printed).toMatch(/^TensorFlow \((CPU|CUDA)\) was set up already: /)),
    Effect.provide(layer)
  )
)

it.effect("install fails where a tool is missing", () =>
  Effect.gen(function* () {
    const folder = mkdtempSync(join(tmpdir(), "mmt-engine-"))
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        vi.unstubAllEnvs()
        rmSync(folder, { recursive: true })
      })
    )
    vi.stubEnv("PATH", folder)
    vi.stubEnv("XDG_CACHE_HOME", join(folder, "cache"))
    const error = yield* Effect.flip(mmt("install"))
    expect(error).toMatchObject({ _tag: "ToolMissing", tool: "g++" })
  }).pipe(Effect.provide(layer))
)
