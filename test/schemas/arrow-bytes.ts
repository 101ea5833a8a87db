/** Record batches as the bytes of an Arrow file or stream. */
import { type RecordBatch, RecordBatchFileWriter, RecordBatchStreamWriter } from "apache-arrow"

export const arrowFormats = ["file", "stream"] as const
export type ArrowFormat = (typeof arrowFormats)[number]

export const arrowBytes = (batches: ReadonlyArray<RecordBatch>, format: ArrowFormat = "file"): Uint8Array => {
  const writer = format === "file" ? new RecordBatchFileWriter() : new RecordBatchStreamWriter()
  for (const batch of batches) writer.write(batch)
  writer.finish()
  return writer.toUint8Array(true)
}
