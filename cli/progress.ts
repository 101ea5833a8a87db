/**
 * The progress of long work, on stderr: one line that is written over again on a terminal, else a plain line every few
 * seconds, so that logs stay short.
 */

export interface ProgressLine {
  /** So much is done; may be called as often as one likes. */
  readonly update: (done: number) => void
  /** Writes the last state and leaves the line; nothing when nothing was ever done. Safe to call twice. */
  readonly end: () => void
}

/** Where the line goes; `process.stderr` is one. */
export interface ProgressStream {
  readonly write: (text: string) => unknown
  readonly isTTY?: boolean
  readonly columns?: number
}

/** Milliseconds between two lines, on a terminal and elsewhere. */
const EVERY = { terminal: 100, plain: 5_000 } as const

const LONGEST_BAR = 30
const SHORTEST_BAR = 5

/** A count as people read it: 12,936. */
export const count = (value: number): string => Math.round(value).toLocaleString("en-US")

/** A length of time to two parts: 8 s, 3 min 20 s, 1 h 5 min. */
export const duration = (seconds: number): string => {
  const whole = Math.round(seconds)
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`
}

/**
 * Shows how far work of `total` parts is, with rate and time left.
 *
 * @example
 * const progress = progressLine("drawing", images.length)
 * progress.update(120)
 * progress.end()
 */
export const progressLine = (
  label: string,
  total: number,
  stream: ProgressStream = process.stderr,
  now: () => number = () => performance.now()
): ProgressLine => {
  const terminal = stream.isTTY === true
  const every = terminal ? EVERY.terminal : EVERY.plain
  const start = now()
  let done = 0
  let shown = terminal ? Number.NEGATIVE_INFINITY : start
  let ended = false

  const line = (last: boolean) => {
    const seconds = (now() - start) / 1000
    const rate = seconds > 0 ? done / seconds : 0
    const parts = [`${count(done)} of ${count(total)}`]
    if (rate > 0) parts.push(`${rate < 10 ? rate.toFixed(1) : count(rate)}/s`)
    if (last) parts.push(`took ${duration(seconds)}`)
    else if (rate > 0) parts.push(`${duration((total - done) / rate)} left`)
    return parts.join("  ")
  }

  const write = (last: boolean) => {
    const text = line(last)
    if (!terminal) {
      stream.write(`${label}  ${text}\n`)
      return
    }
    // One column stays free: a full line would wrap on some terminals.
    const columns = (stream.columns || 80) - 1
    const room = Math.min(LONGEST_BAR, columns - label.length - text.length - 6)
    const filled = Math.round((room * Math.min(done, total)) / Math.max(total, 1))
    const bar = room < SHORTEST_BAR ? "" : `[${"#".repeat(filled)}${"·".repeat(room - filled)}]  `
    stream.write(`\r${`${label}  ${bar}${text}`.slice(0, columns)}\x1b[K${last ? "\n" : ""}`)
  }

  return {
    update: (value) => {
      done = value
      const time = now()
      if (ended || time - shown < every) return
      shown = time
      write(false)
    },
    end: () => {
      if (!ended && done > 0) write(true)
      ended = true
    }
  }
}
