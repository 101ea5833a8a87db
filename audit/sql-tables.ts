/** The artifacts of a run as tables: what columns each has, and which files its rows come from. */
import { type OpenRun, placeOf, type RecordedFile } from "#audit/open-run.ts"
import { taskPlace } from "#audit/task-place.ts"

/** Columns that say where a row is from, read from its file's folder; a column of the artifact goes first. */
const placeColumns = { task: "Utf8", variant: "Utf8", epoch: "Int32", network: "Utf8", split: "Utf8" } as const

export type PlaceColumn = keyof typeof placeColumns

export interface TableColumn {
  readonly name: string
  /** Arrow's type, as the manifest records it. */
  readonly type: string
}

export interface TableFile {
  readonly file: string
  readonly rows: number
  readonly place: Readonly<Record<PlaceColumn, string | number | null>>
}

export interface RunTable {
  readonly name: string
  readonly columns: ReadonlyArray<TableColumn>
  readonly files: ReadonlyArray<TableFile>
}

/** Columns of many bytes a row, which a query gets only where it names them. */
export const isWide = ({ type }: TableColumn) => /^(FixedSizeList|FixedSizeBinary|LargeBinary)/.test(type)

const tableFile = (run: OpenRun, file: RecordedFile): TableFile => ({
  file: placeOf(run, file),
  rows: file.rows,
  place: { task: file.task, ...taskPlace(file.task) }
})

const tableOf = (run: OpenRun, name: string, files: ReadonlyArray<RecordedFile>): RunTable => {
  const own = new Map<string, string>()
  for (const { columns } of files)
    for (const [column, type] of Object.entries(columns)) {
      const known = own.get(column)
      // Vectors of several widths, as those of models with other dimensions.
      own.set(column, known === undefined || known === type ? type : type.replace(/\[\d+\]/, ""))
    }
  const places = Object.entries(placeColumns).filter(([column]) => !own.has(column))
  const columns = [...places, ...own].map(([column, type]) => ({ name: column, type }))
  return { name, columns, files: files.map((file) => tableFile(run, file)) }
}

/** A table for each artifact of the run, by its name with _ for -; what the tap kept has tables of its own. */
export const runTables = (run: OpenRun): ReadonlyArray<RunTable> =>
  [...Map.groupBy(run.files, ({ artifact, port }) => (port.startsWith("tap ") ? port : artifact))].map(
    ([name, files]) => tableOf(run, name.replaceAll(/[- ]/g, "_"), files)
  )
