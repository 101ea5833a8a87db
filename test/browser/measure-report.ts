/**
 * `npm run -s measure:report -- RUN`: writes a run's report, opens it in Chromium and scrolls through it, and says how long, how
 * large and how smooth that was. Of `fixture:large` it is held to what the project promises.
 */
import { mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import type { Page } from "playwright-core"
import { mmt } from "../commands/mmt.ts"
import { installedChromium, launch, open } from "./chromium.ts"

const [run, ...more] = process.argv.slice(2)
if (run === undefined || run.startsWith("-") || more.length > 0) {
  process.stderr.write("usage: npm run -s measure:report -- RUN\n")
  process.exit(2)
}

const seconds = (milliseconds: number) => `${(milliseconds / 1000).toFixed(1)} s`

/** Scrolls from top to bottom, 60 pixels a frame; the milliseconds of each frame, and of the tasks that took over 50. */
const scrolled = (page: Page) =>
  page.evaluate(async () => {
    const longTasks: Array<number> = []
    const observer = new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) longTasks.push(duration)
    })
    observer.observe({ type: "longtask" })
    document.documentElement.style.scrollBehavior = "auto"
    const frames: Array<number> = []
    const frame = () => new Promise<number>((resolve) => requestAnimationFrame(resolve))
    let before = await frame()
    const bottom = () => document.documentElement.scrollHeight - innerHeight - 1
    while (scrollY < bottom()) {
      scrollBy(0, 60)
      const now = await frame()
      frames.push(now - before)
      before = now
    }
    await new Promise((resolve) => setTimeout(resolve, 200))
    observer.disconnect()
    return { frames, longTasks, height: document.documentElement.scrollHeight }
  })

const browserFile = installedChromium()
const folder = mkdtempSync(join(tmpdir(), "mmt-measure-"))
try {
  const file = join(folder, "report.html")
  const start = performance.now()
  const { code, err } = await mmt(process.cwd(), "report", run, "--out", file)
  if (code !== 0) throw new Error(err)
  const bytes = statSync(file).size
  process.stdout.write(`written in ${seconds(performance.now() - start)}, ${(bytes / 1e6).toFixed(1)} MB\n`)
  if (browserFile === undefined) process.stdout.write("no Chromium in the PATH: scrolling is not measured\n")
  else {
    const browser = await launch(browserFile)
    const opened = performance.now()
    const { page, errors } = await open(browser, pathToFileURL(file).href)
    process.stdout.write(`opened in ${seconds(performance.now() - opened)}, ${errors.length} errors\n`)
    const { frames, height, longTasks } = await scrolled(page)
    const sorted = frames.toSorted((a, b) => a - b)
    const at = (share: number) => `${Math.round(sorted[Math.floor(share * (sorted.length - 1))]!)} ms`
    process.stdout.write(
      `scrolled ${height} pixels in ${frames.length} frames: median ${at(0.5)}, 95 % within ${at(0.95)}, longest ${at(1)}; ${longTasks.length} tasks over 50 ms\n`
    )
    await browser.close()
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
