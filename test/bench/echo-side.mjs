// A side of a bench that computes nothing: introduces itself with the JSON that it is given, then answers each number of
// units with as many seconds; ends with exit code 3 where it is asked for none.
import { createInterface } from "node:readline"

process.stdout.write(`${process.argv[2]}\n`)
for await (const line of createInterface({ input: process.stdin })) {
  if (line === "0") {
    process.stderr.write("nothing to do\n")
    process.exit(3)
  }
  process.stdout.write(`${JSON.stringify({ seconds: Number(line) })}\n`)
}
