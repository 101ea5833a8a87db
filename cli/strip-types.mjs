/** Lets Node run this package's TypeScript also where it lies in a node_modules folder, where Node itself refuses to. */
import { readFileSync } from "node:fs"
import { registerHooks, stripTypeScriptTypes } from "node:module"
import { fileURLToPath } from "node:url"

const own = new URL("..", import.meta.url).href

registerHooks({
  load(url, context, next) {
    if (!url.startsWith(own) || !url.endsWith(".ts") || url.slice(own.length).includes("node_modules/")) {
      return next(url, context)
    }
    const source = stripTypeScriptTypes(readFileSync(fileURLToPath(url), "utf8"))
    return { format: "module", source, shortCircuit: true }
  }
})
