/** What a run tells while it goes: to whoever listens, and to `events.jsonl` in its folder. */
import { appendFileSync } from "node:fs"
import { Context } from "effect"
import { WriteFailed } from "#pipeline/arrow-file.ts"

/** What a step of training reports. */
export interface TrainingStep {
  /** By column of `train-metrics`: ce1, tri1, …, total. */
  readonly losses: Readonly<Record<string, number>>
  readonly learningRate: number
  readonly stepMillis: number
  /** Time that the step waited for its batch. */
  readonly waitMillis: number
}

export type RunEvent =
  | { readonly type: "run-started"; readonly run: string; readonly tasks: number; readonly done: number }
  | {
      readonly type: "weights"
      readonly student: string
      /** As the run file names it. */
      readonly file: string
      /** Tensors that the student takes from the file. */
      readonly tensors: number
      /** Parts of the network that the file lacks, which start as those of a new one. */
      readonly initial: ReadonlyArray<string>
      /** Names of the file that no network here has. */
      readonly leftOut: ReadonlyArray<string>
    }
  | { readonly type: "task-started"; readonly task: string; readonly phase: string; readonly why: string }
  | {
      readonly type: "progress"
      readonly task: string
      readonly phase: string
      readonly done: number
      readonly total: number
      readonly note: string
      /** Of the step that is just done, where the task trains. */
      readonly step?: TrainingStep
    }
  | {
      readonly type: "task-done"
      readonly task: string
      readonly phase: string
      readonly seconds: number
      /** Of a task that trains: milliseconds of each step, and of waiting for its batch. */
      readonly stepMillis?: ReadonlyArray<number>
      readonly waitMillis?: ReadonlyArray<number>
      /** Of an evaluation: mAP and CMC by name, in percent. */
      readonly scores?: Readonly<Record<string, number>>
    }
  | { readonly type: "task-skipped"; readonly task: string; readonly phase: string }
  | { readonly type: "task-failed"; readonly task: string; readonly phase: string; readonly problem: string }
  /** What is to be known beside: a lock that was taken over, an epoch that goes on. */
  | { readonly type: "notice"; readonly text: string }
  | { readonly type: "run-done"; readonly run: string; readonly seconds: number }

/** Who is told of a run's events as they happen, each with its line of `events.jsonl` where it is kept. */
export const RunListener = Context.Reference<(event: RunEvent, line?: string) => void>("mmt/RunListener", {
  defaultValue: () => () => {}
})

/**
 * Appends an event to the run's `events.jsonl`, with the time, and gives its line. Progress is for the eye and not kept.
 * Throws `WriteFailed` where the file system refuses.
 */
export const keepEvent = (file: string, event: RunEvent): string | undefined => {
  if (event.type === "progress" || event.type === "task-skipped") return undefined
  const line = JSON.stringify({ time: new Date().toISOString(), ...event })
  try {
    appendFileSync(file, `${line}\n`)
    return line
  } catch (cause) {
    throw WriteFailed.of(file)(cause)
  }
}
