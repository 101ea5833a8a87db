/** Compares the two sides of a case: first what they compute, then what it costs them, in rounds that alternate. */
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { disagreement } from "./agreement.ts"
import type { Case } from "./cases.ts"
import type { Introduction } from "./side.ts"
import { type Program, SideFailed, startSide } from "./side-process.ts"
import { type Round, type Summary, summarise } from "./statistics.ts"

/** What runs the two sides. */
export interface Executables {
  readonly node: string
  readonly python: string
}

export interface Comparison extends Summary {
  readonly case: Case
  readonly rounds: ReadonlyArray<Round>
  /** What each side said of its versions, threads and memory layout. */
  readonly settings: { readonly ours: string; readonly peer: string }
  /** Seconds from the start of our process to the end of its first step, where it says so. */
  readonly firstStep?: number
}

/** Hears what a comparison is at: what it does, or so many rounds of so many. */
export interface ComparisonProgress {
  readonly doing: (what: string) => void
  readonly round: (done: number, total: number) => void
}

/** The program in the folder of the bench, given the folder of its inputs as the first argument. */
export const givenFolder = ({ file, args }: Program, folder: string): Program => ({
  file: fileURLToPath(new URL(file, import.meta.url)),
  args: [folder, ...args]
})

interface Context {
  readonly executables: Executables
  /** Folder of the case's inputs. */
  readonly folder: string
  readonly rounds: number
  readonly progress: ComparisonProgress
}

const startOurs = (one: Case, { executables, folder }: Context) =>
  startSide(executables.node, givenFolder(one.ours, folder))
const startPeer = (one: Case, { executables, folder }: Context) =>
  startSide(executables.python, givenFolder(one.peer, folder))

const agree = (one: Case, ours: Introduction, peer: Introduction) => {
  const found = disagreement(one.name, ours.values, peer.values, one.tolerance)
  return found === undefined ? Effect.void : Effect.fail(found)
}

const concluded = (one: Case, rounds: ReadonlyArray<Round>, ours: Introduction, peer: Introduction): Comparison => ({
  ...summarise(rounds),
  case: one,
  rounds,
  settings: { ours: ours.settings, peer: peer.settings },
  ...(ours.firstStep === undefined ? {} : { firstStep: ours.firstStep })
})

/** Both processes live through all rounds, and one of them works at a time. A first round is not counted. */
const compareTimes = (one: Case, context: Context) =>
  Effect.gen(function* () {
    const { progress } = context
    // One after the other, so that neither's start disturbs the other's.
    progress.doing("starting our side")
    const ours = yield* startOurs(one, context)
    progress.doing("starting the peer, which chooses its fastest settings")
    const peer = yield* startPeer(one, context)
    yield* agree(one, ours.introduction, peer.introduction)
    const units = one.unitsPerRound
    const round = Effect.gen(function* () {
      return { ours: (yield* ours.time(units)) / units, peer: (yield* peer.time(units)) / units }
    })
    if (one.warmByValues) progress.doing("both agree")
    else {
      progress.doing("both agree; warming up")
      yield* round
    }
    const rounds: Array<Round> = []
    progress.round(0, context.rounds)
    for (let done = 1; done <= context.rounds; done++) {
      rounds.push(yield* round)
      progress.round(done, context.rounds)
    }
    return concluded(one, rounds, ours.introduction, peer.introduction)
  }).pipe(Effect.scoped)

const peakOf = ({ introduction: { peakBytes } }: { readonly introduction: Introduction }, { file }: Program) =>
  peakBytes === undefined
    ? Effect.fail(new SideFailed({ program: file, problem: "does not say how much memory it held", detail: "" }))
    : Effect.succeed(peakBytes)

/** Each side is a process of its own in each round, and no two live at the same time. */
const compareMemory = (one: Case, context: Context) =>
  Effect.gen(function* () {
    const { progress } = context
    const rounds: Array<Round> = []
    for (let done = 1; ; done++) {
      progress.doing(`our side, round ${done} of ${context.rounds}`)
      const ours = yield* startOurs(one, context).pipe(Effect.scoped)
      progress.doing(`the peer, round ${done} of ${context.rounds}`)
      const peer = yield* startPeer(one, context).pipe(Effect.scoped)
      yield* agree(one, ours.introduction, peer.introduction)
      rounds.push({ ours: yield* peakOf(ours, one.ours), peer: yield* peakOf(peer, one.peer) })
      if (done === context.rounds) return concluded(one, rounds, ours.introduction, peer.introduction)
    }
  })

/** Compares a case; nothing is timed where the sides compute different things. */
export const compare = (one: Case, context: Context) =>
  one.measure.of === "memory" ? compareMemory(one, context) : compareTimes(one, context)
