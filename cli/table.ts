/** Tables in plain text: columns as wide as their cells, the first to the left and the others to the right. */

export type TableRow = ReadonlyArray<string>

/** Lines of a table with these headings. */
export const table = (headings: TableRow, rows: ReadonlyArray<TableRow>): string => {
  const lines = [headings, ...rows]
  const widths = headings.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)))
  const cell = (text: string, column: number) =>
    column === 0 ? text.padEnd(widths[column]!) : text.padStart(widths[column]!)
  return lines.map((line) => line.map(cell).join("  ").trimEnd()).join("\n")
}
