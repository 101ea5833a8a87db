/** Tables in plain text: columns as wide as their cells, numbers to the right and everything else to the left. */

export type TableRow = ReadonlyArray<string>

const isNumber = (text: string) => text === "" || /^[–\d][\d.,]*( (ms|s|%))?$/.test(text)

/** Lines of a table with these headings. */
export const table = (headings: TableRow, rows: ReadonlyArray<TableRow>): string => {
  const lines = [headings, ...rows]
  const widths = headings.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)))
  const numeric = headings.map((_, column) => column > 0 && rows.every((row) => isNumber(row[column] ?? "")))
  const cell = (text: string, column: number) =>
    numeric[column] ? text.padStart(widths[column]!) : text.padEnd(widths[column]!)
  return lines.map((line) => line.map(cell).join("  ").trimEnd()).join("\n")
}
