/**
 * Lines at the bottom of a terminal that are drawn over again, with lines that stay above them. Each change is one write, so
 * that nothing flickers; the cursor is hidden meanwhile and comes back at any end of the process that Node lives to see.
 */
import { columnsOf, cut } from "#cli/terminal-text.ts"

/** A terminal; `process.stderr` is one. */
export interface Terminal {
  readonly write: (text: string) => unknown
  readonly columns?: number
  readonly rows?: number
}

/** A line of the block: its plain text, and how it looks once it is cut to the width. */
export interface BlockLine {
  readonly text: string
  readonly style?: (text: string) => string
}

const hideCursor = "\x1b[?25l"
const showCursor = "\x1b[?25h"
const clearLine = "\x1b[K"
const clearBelow = "\x1b[J"

export const liveBlock = (terminal: Terminal) => {
  let lines: ReadonlyArray<BlockLine> = []
  /** Columns that each drawn line took. */
  let drawn: ReadonlyArray<number> = []

  const restore = () => {
    if (drawn.length > 0) terminal.write(`\n${showCursor}`)
    drawn = []
  }

  const width = () => terminal.columns || 80

  /** To the start of what is drawn: a terminal that became narrower has wrapped its lines. */
  const back = () => {
    const rows = drawn.reduce((sum, columns) => sum + Math.max(1, Math.ceil(columns / width())), 0)
    return rows > 1 ? `\r\x1b[${rows - 1}A` : "\r"
  }

  /** The lines, none as wide as the terminal, which would wrap, and fewer than it has rows. */
  const frame = () => {
    const shown = lines.slice(0, Math.max(1, (terminal.rows || 24) - 1)).map(({ text, style }) => {
      const fitting = cut(text, width() - 1)
      return { columns: columnsOf(fitting), look: style ? style(fitting) : fitting }
    })
    drawn = shown.map(({ columns }) => columns)
    return shown.map(({ look }) => `${look}${clearLine}`).join("\n") + clearBelow
  }

  const start = () => {
    if (drawn.length > 0) return ""
    process.once("exit", restore)
    return hideCursor
  }

  return {
    /** Draws these lines in place of those before. */
    draw: (now: ReadonlyArray<BlockLine>) => {
      lines = now
      if (lines.length > 0) terminal.write(start() + back() + frame())
    },
    /** Writes a line that stays, above the block; it may be longer than the terminal is wide. */
    print: (text: string) => {
      if (drawn.length === 0) terminal.write(`${text}\n`)
      else terminal.write(`${back()}${text}${clearLine}\n${clearBelow}${frame()}`)
    },
    /** Takes the block away and gives the cursor back. Safe to call twice. */
    end: () => {
      process.off("exit", restore)
      if (drawn.length > 0) terminal.write(`${back()}${clearBelow}${showCursor}`)
      drawn = []
      lines = []
    }
  }
}
