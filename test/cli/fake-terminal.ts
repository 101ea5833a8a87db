/** A terminal in memory that knows what the view of a run uses: lines that wrap, scroll and reflow, and a few sequences. */

interface Row {
  text: string
  /** Whether it goes on in the next row, because it was too long. */
  wrapped: boolean
}

const pieces =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: what a terminal is sent
  /\x1b\[(?<parameters>[?\d;]*)(?<final>[A-Za-z])|(?<control>[\r\n])|(?<text>[^\x1b\r\n]+)|(?<other>[\s\S])/g

export const fakeTerminal = (columns: number, rows = 24, colours = false) => {
  let grid: Array<Row> = [{ text: "", wrapped: false }]
  let [row, column] = [0, 0]
  let hidden = false
  const writes: Array<string> = []

  const put = (text: string) => {
    for (const letter of text) {
      if (column === terminal.columns) {
        grid[row]!.wrapped = true
        newLine()
        column = 0
      }
      const own = grid[row]!
      own.text = own.text.padEnd(column).slice(0, column) + letter + own.text.slice(column + 1)
      column++
    }
  }
  const newLine = () => {
    row++
    if (row === grid.length) grid.push({ text: "", wrapped: false })
  }
  const sequence = (parameters: string, final: string) => {
    const own = grid[row]!
    if (final === "A") row = Math.max(0, row - Number(parameters || 1))
    else if (final === "K") Object.assign(own, { text: own.text.slice(0, column), wrapped: false })
    else if (final === "J") {
      own.text = own.text.slice(0, column)
      grid.length = row + 1
    } else if (parameters === "?25" && (final === "l" || final === "h")) hidden = final === "l"
    else if (final !== "m") throw new Error(`the terminal does not know ESC[${parameters}${final}`)
  }

  const terminal = {
    isTTY: true,
    columns,
    rows,
    hasColors: () => colours,
    write: (text: string) => {
      writes.push(text)
      for (const { groups } of text.matchAll(pieces)) {
        const { control, final, other, parameters, text: plain } = groups!
        if (final !== undefined) sequence(parameters!, final)
        else if (control === "\r") column = 0
        // As a terminal in cooked mode, which goes to the start of the line.
        else if (control === "\n") {
          newLine()
          column = 0
        } else if (plain !== undefined) put(plain)
        else throw new Error(`the terminal does not know ${JSON.stringify(other)}`)
      }
    },
    writes,
    cursorHidden: () => hidden,
    /** What is on it and above, without empty lines at the end. */
    screen: () =>
      grid
        .map(({ text }) => text.trimEnd())
        .join("\n")
        .trimEnd()
        .split("\n"),
    /** Another width: long lines wrap, as terminals do it, and the cursor stays at its text. */
    resize: (to: number) => {
      const before = grid
      grid = []
      let cursor = 0
      for (const [i, { text }] of before.entries()) {
        const parts = text === "" ? [""] : (text.match(new RegExp(`.{1,${to}}`, "gu")) ?? [""])
        for (const [j, part] of parts.entries()) grid.push({ text: part, wrapped: j < parts.length - 1 })
        if (i === row) cursor = grid.length - 1
      }
      row = cursor
      column = grid[row]!.text.length
      terminal.columns = to
    }
  }
  return terminal
}
