/** `npm run bench`. */
import { runCommandLine } from "#cli/command-line.ts"
import { bench } from "./command.ts"

runCommandLine(bench, () => "npm run bench -- --help")
