/** Many tasks in few words: those that differ in the epoch alone are one. */

/** Epochs as people write them: 3…10, 12. */
const ranges = (epochs: ReadonlyArray<string>): string => {
  const runs: Array<[first: string, last: string]> = []
  for (const epoch of [...epochs].sort()) {
    const run = runs.at(-1)
    if (run && Number(epoch) === Number(run[1]) + 1) run[1] = epoch
    else runs.push([epoch, epoch])
  }
  return runs.map(([first, last]) => (first === last ? first : `${first}…${last}`)).join(", ")
}

const epoch = /epoch-(\d+)/

/** A text with its epoch left open. */
export const withoutEpoch = (text: string) => text.replace(new RegExp(epoch, "g"), "epoch-*")

/** One name for tasks that differ in the epoch alone: train/epoch-003…010. */
export const commonName = (tasks: ReadonlyArray<string>): string =>
  tasks[0]!.replace(epoch, `epoch-${ranges(tasks.map((task) => epoch.exec(task)?.[1] ?? ""))}`)

/** The names of tasks, folded by epoch, in the order of the first of each. */
export const foldedNames = (tasks: ReadonlyArray<string>): ReadonlyArray<string> =>
  [...Map.groupBy(tasks, withoutEpoch).values()].map(commonName)

const widest = 120

/** Words in lines of at most so many characters, set in. */
export const wrapped = (words: ReadonlyArray<string>, indent: string) => {
  const lines = [""]
  for (const word of words) {
    const line = lines.at(-1)!
    if (line !== "" && line.length + word.length > widest) lines.push(word)
    else lines[lines.length - 1] = line === "" ? word : `${line}, ${word}`
  }
  return lines.map((line) => `${indent}${line}`).join("\n")
}
