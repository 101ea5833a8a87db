/** An installed Chromium, and pages in it that may ask nobody but whom they come from. */
import { accessSync, constants } from "node:fs"
import { delimiter, join } from "node:path"
import axe from "axe-core"
import { type Browser, chromium, type Page } from "playwright-core"

const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]

const isExecutable = (file: string) => {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** The first Chromium of the PATH; undefined where there is none. */
export const installedChromium = (): string | undefined =>
  (process.env.PATH ?? "")
    .split(delimiter)
    .flatMap((folder) => names.map((name) => join(folder, name)))
    .find(isExecutable)

export const launch = (executablePath: string): Promise<Browser> =>
  // A sandbox cannot be had in most containers; the pages are our own.
  chromium.launch({ executablePath, args: ["--no-sandbox"] })

export interface Watched {
  readonly page: Page
  /** Errors of scripts and of the console. */
  readonly errors: ReadonlyArray<string>
  /** What the page asked for that is not its own; none of it was let out. */
  readonly strangers: ReadonlyArray<string>
}

/** A page at this address, as wide as most screens. */
export const open = async (browser: Browser, url: string): Promise<Watched> => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } })
  const { origin, protocol } = new URL(url)
  const isOwn = (asked: string) =>
    asked.startsWith("data:") || (protocol === "file:" ? asked === url : new URL(asked).origin === origin)
  const errors: Array<string> = []
  const strangers: Array<string> = []
  await context.route("**/*", (route) => {
    const asked = route.request().url()
    if (isOwn(asked)) return route.continue()
    strangers.push(asked)
    return route.abort()
  })
  const page = await context.newPage()
  page.on("pageerror", ({ message }) => errors.push(message))
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") errors.push(message.text())
  })
  // A live page never stops to load.
  await page.goto(url, { waitUntil: "load" })
  return { page, errors, strangers }
}

/** Violations of accessibility that axe-core calls serious or critical; in the dark scheme, of contrast alone: all else is the same. */
export const seriousViolations = async (page: Page): Promise<ReadonlyArray<string>> => {
  const found: Array<string> = []
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme })
    await page.evaluate(axe.source)
    const { violations } = await page.evaluate(
      (options) => (globalThis as unknown as { axe: typeof axe }).axe.run(options),
      colorScheme === "dark" ? { runOnly: ["color-contrast"] } : {}
    )
    for (const { id, impact, nodes } of violations)
      if (impact === "serious" || impact === "critical")
        found.push(`${colorScheme}: ${id}: ${nodes.length} × ${nodes[0]!.html.slice(0, 160)}`)
  }
  await page.emulateMedia({ colorScheme: null })
  return found
}
