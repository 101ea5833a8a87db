/**
 * `npm run pictures -- RUN`: the pictures of the README and of docs/, from a run's report: its first screens in both colour schemes,
 * and two of its curves with a ranking strip. Only for a run on drawn images: the pictures show some.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import type { Page } from "playwright-core"
import sharp from "sharp"
import { mmt, repository } from "../commands/mmt.ts"
import { installedChromium, launch } from "./chromium.ts"

const folder = fileURLToPath(new URL("../../docs/pictures", import.meta.url))

const schemes = ["light", "dark"] as const

const write = async (png: Buffer, name: string) => {
  const file = join(folder, `${name}.webp`)
  const { size, width, height } = await sharp(png).webp({ quality: 82, effort: 6 }).toFile(file)
  process.stdout.write(`${file.slice(repository.length)}: ${width}×${height}, ${Math.ceil(size / 1000)} kB\n`)
}

/** The page's first screens: the result, the table, the curves. */
const screens = async (page: Page) => {
  const bottom = await page.locator("#training").evaluate((section) => section.getBoundingClientRect().top)
  return page.screenshot({ clip: { x: 0, y: 0, width: 1280, height: Math.floor(bottom) } })
}

/** Two curves, and what the last method found for the query in the middle by its average precision. */
const summary = async (page: Page) => {
  await page.evaluate(() => {
    const middle = [...document.querySelectorAll('.query[data-standing="middle"]')]
    const query = middle[Math.floor(middle.length / 2)]!
    const [map, clusters] = ["#score-map", "#cluster-nmi"].map((id) => document.querySelector<HTMLElement>(id)!)
    for (const chart of [map!, clusters!]) for (const part of chart.querySelectorAll("details")) part.remove()
    query.querySelector<HTMLElement>("h4")!.hidden = true
    const charts = Object.assign(document.createElement("div"), { className: "charts" })
    const rankings = Object.assign(document.createElement("div"), { className: "rankings" })
    const whole = Object.assign(document.createElement("div"), { id: "summary" })
    charts.append(map!, clusters!)
    rankings.append(query)
    whole.append(charts, rankings)
    whole.style.cssText = "padding: 1rem 1.25rem; background: var(--ground); width: 62rem"
    query.setAttribute("style", "border: 0; padding: 1rem 0 0")
    document.body.replaceChildren(whole)
  })
  return page.locator("#summary").screenshot()
}

const [run] = process.argv.slice(2)
const executable = installedChromium()
if (run === undefined || executable === undefined) {
  process.stderr.write(run === undefined ? "npm run pictures -- RUN\n" : "no Chromium in PATH\n")
  process.exit(run === undefined ? 2 : 1)
}
const home = mkdtempSync(join(tmpdir(), "mmt-pictures-"))
const report = join(home, "report.html")
const { code, err } = await mmt(process.cwd(), "report", run, "--out", report)
if (code !== 0) {
  process.stderr.write(err)
  process.exit(1)
}
mkdirSync(folder, { recursive: true })
const browser = await launch(executable)
for (const colorScheme of schemes) {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 3000 },
    deviceScaleFactor: 1.5,
    colorScheme
  })
  const page = await context.newPage()
  await page.goto(pathToFileURL(report).href)
  await write(await screens(page), `report-${colorScheme}`)
  await write(await summary(page), `quickstart-${colorScheme}`)
  await context.close()
}
await browser.close()
rmSync(home, { recursive: true })
