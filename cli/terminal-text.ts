/** Text as a terminal has it: how many columns it takes, cut to fit, and without what would move the cursor. */

const letters = new Intl.Segmenter("en", { granularity: "grapheme" })

/** Scripts and emoji that take two columns. */
const wide =
  /\p{Emoji_Presentation}|\ufe0f|[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u

/** Control characters, and marks that turn the direction of the text around them. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out
const unprintable = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g

/** A text of others (names, messages) as one line that does nothing but stand there. */
export const printable = (text: string): string => text.toWellFormed().replace(unprintable, "\ufffd")

/** Letters with the columns that each takes. */
const measured = (text: string) =>
  Array.from(letters.segment(text), ({ segment }) => ({ segment, columns: wide.test(segment) ? 2 : 1 }))

const ascii = /^[ -~]*$/

/** Columns that a printable text takes. */
export const columnsOf = (text: string): number =>
  ascii.test(text) ? text.length : measured(text).reduce((sum, { columns }) => sum + columns, 0)

/** The start of a printable text that takes at most so many columns; cut, it ends in …. */
export const cut = (text: string, columns: number): string => {
  if (columnsOf(text) <= columns) return text
  let room = columns - 1
  let kept = ""
  for (const { segment, columns: own } of measured(text)) {
    room -= own
    if (room < 0) break
    kept += segment
  }
  return columns > 0 ? `${kept}…` : ""
}

/** Texts on lines of this width, as many on one as fit, two spaces apart. */
export const wrapped = (texts: ReadonlyArray<string>, width: number): ReadonlyArray<string> => {
  const lines: Array<string> = []
  for (const text of texts) {
    const joined = `${lines.at(-1)}  ${text}`
    if (lines.length > 0 && columnsOf(joined) <= width) lines[lines.length - 1] = joined
    else lines.push(text)
  }
  return lines
}
