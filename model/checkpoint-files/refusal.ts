/** Why a checkpoint file is not read. */
import { Schema } from "effect"

/** Thrown where a file's bytes are not what its format has; `readCheckpointFile` makes a `CheckpointRefused` of it. */
export class Refusal extends Error {}

/** Throws a `Refusal`. */
export const refuse = (problem: string): never => {
  throw new Refusal(problem)
}

/** Why the file system does not give a file. */
export const fileProblemOf = (cause: unknown): string => {
  const { code, message } = cause as NodeJS.ErrnoException
  return code === "ENOENT" ? "there is no such file" : code === "EISDIR" ? "it is a folder" : message
}

/** A checkpoint file cannot be read, is damaged, or holds what is no tensor. Nothing of it is used or run. */
export class CheckpointRefused extends Schema.TaggedError<CheckpointRefused>()("CheckpointRefused", {
  file: Schema.String,
  problem: Schema.String
}) {
  override get message() {
    return `${this.file}: refused as a checkpoint: ${this.problem}`
  }
}
