/** A side of a comparison as the bench sees it: a process that introduces itself and then times what it is asked for. */
import { Effect, Queue, Schema, Stream } from "effect"
import { ChildProcess } from "effect/process"
import { Introduction, Timing } from "./side.ts"

/** A program with its arguments; relative to the folder of the bench. */
export interface Program {
  readonly file: string
  readonly args: ReadonlyArray<string>
}

/** A side's process ended, or said what the bench does not understand; `detail` is what it wrote to stderr. */
export class SideFailed extends Schema.TaggedError<SideFailed>()("SideFailed", {
  program: Schema.String,
  problem: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `${this.program} ${this.problem}${this.detail === "" ? "" : `:\n${this.detail}`}`
  }
}

export interface Side {
  readonly introduction: Introduction
  /** Seconds that so many units take. */
  readonly time: (units: number) => Effect.Effect<number, SideFailed>
}

// The comparison is of the CPU, whatever else the machine has.
const environment = { CUDA_VISIBLE_DEVICES: "-1" }

const makeProcess = (executable: string, { file, args }: Program, stdin: ChildProcess.CommandInput) =>
  ChildProcess.make(executable, [file, ...args], { env: environment, extendEnv: true, stdin })

const notStarted = (program: string) => (error: { readonly message: string }) =>
  Effect.fail(new SideFailed({ program, problem: "cannot be started", detail: error.message }))

/** Runs a program to its end. */
export const runProgram = Effect.fn("runProgram")(
  function* (executable: string, program: Program) {
    const child = yield* makeProcess(executable, program, "ignore")
    const output = (yield* child.all.pipe(Stream.decodeText, Stream.mkString)).trim()
    const exitCode = yield* child.exitCode
    if (exitCode === 0) return
    return yield* new SideFailed({ program: program.file, problem: `ended with exit code ${exitCode}`, detail: output })
  },
  Effect.scoped,
  (effect, _, { file }) => Effect.catchTag(effect, "PlatformError", notStarted(file))
)

/** Starts a side and waits for its introduction. The process ends with the scope. */
export const startSide = Effect.fn("startSide")(
  function* (executable: string, program: Program) {
    const requests = yield* Queue.unbounded<string>()
    const answers = yield* Queue.unbounded<string>()
    let errors = ""
    const stdin = Stream.fromQueue(requests).pipe(Stream.encodeText)
    const child = yield* makeProcess(executable, program, stdin)
    yield* child.stderr.pipe(
      Stream.decodeText,
      Stream.runForEach((text) =>
        Effect.sync(() => {
          errors += text
        })
      ),
      Effect.forkScoped
    )
    yield* child.stdout.pipe(
      Stream.decodeText,
      Stream.splitLines,
      Stream.runForEach((line) => Queue.offer(answers, line)),
      Effect.forkScoped
    )
    const fail = (problem: string) =>
      Effect.suspend(() => Effect.fail(new SideFailed({ program: program.file, problem, detail: errors.trim() })))
    const ended = child.exitCode.pipe(
      Effect.catchTag("PlatformError", () => Effect.succeed("none")),
      // What it last wrote may still be on its way.
      Effect.delay("50 millis"),
      Effect.flatMap((code) => fail(`ended too early, with exit code ${code}`))
    )
    const answer = <S extends Schema.Top & { readonly DecodingServices: never }>(schema: S) =>
      Effect.raceFirst(Queue.take(answers), ended).pipe(
        Effect.flatMap((line) =>
          Schema.decodeEffect(Schema.fromJsonString(schema))(line).pipe(
            Effect.catchTag("SchemaError", (error) => fail(`answered what is no answer (${error.message})`))
          )
        )
      )
    const introduction = yield* answer(Introduction)
    const time = (units: number) =>
      Queue.offer(requests, `${units}\n`).pipe(
        Effect.andThen(answer(Timing)),
        Effect.map(({ seconds }) => seconds)
      )
    return { introduction, time } satisfies Side
  },
  (effect, _, { file }) => Effect.catchTag(effect, "PlatformError", notStarted(file))
)
