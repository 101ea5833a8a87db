/** Worker threads that fail as the job's second file says: by dying or hanging, for the first times that they are asked. */
import { appendFileSync, readFileSync } from "node:fs"

export default ({ places }) => {
  const [file, manner] = places.files
  const [how, times] = manner.split(" ")
  appendFileSync(file, "asked\n")
  const asked = readFileSync(file, "utf8").split("\n").length - 1
  if (asked <= Number(times)) {
    if (how === "die") process.exit(3)
    for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000)
  }
  return Float32Array.of(asked)
}
