/** A process that takes the processor only where others leave it, as far as the system lets it. */
import { readdirSync } from "node:fs"
import { constants, setPriority } from "node:os"

/** Lowers the priority of all threads that this process has; those that they start have theirs. */
export const stepBehindOthers = (): void => {
  const threads = process.platform === "linux" ? readdirSync("/proc/self/task").map(Number) : [process.pid]
  for (const thread of threads)
    try {
      setPriority(thread, constants.priority.PRIORITY_BELOW_NORMAL)
    } catch {
      // A thread that has ended since; or it is low already, and may not be raised.
    }
}
