/** `mmt`: starts the command line, from what Node compiled of it before. */
import { enableCompileCache } from "node:module"

enableCompileCache()
await import("#cli/commands.ts")
