/** The report and the live page as a browser shows them: of a run while it goes, and of the same run when it is done. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import type { Browser } from "playwright-core"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { baseline, drawPair, mmt, startMmt, tinyRun, writeRunFile } from "../commands/mmt.ts"
import { installedChromium, launch, open, seriousViolations, type Watched } from "./chromium.ts"
import { chartsWithoutMarks, expectExplorable, expectFilterable, expectNumbers, expectReadable } from "./figures.ts"

const executable = installedChromium()
if (executable === undefined)
  console.warn(
    "NO CHROMIUM in PATH: the report and the live page are not tested in a browser (apt-get install chromium)"
  )

/** A page that has shown all it has to show, with nothing to complain of. */
const expectClean = ({ errors, strangers }: Watched) => {
  expect(errors).toEqual([])
  expect(strangers).toEqual([])
}

const tables = ({ page }: Watched) =>
  page
    .locator("main table")
    .evaluateAll((all) => all.map(({ textContent }) => (textContent ?? "").replace(/\s+/g, " ").trim()))

describe.skipIf(executable === undefined)("in a browser", () => {
  let home: string
  let browser: Browser
  let running: ReturnType<typeof startMmt>
  let live: Watched
  let url: string
  let said = ""
  const folder = () => join(home, "runs/tiny")

  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), "mmt-browser-"))
    await drawPair(home)
    // Long enough to be looked at.
    const adapted = tinyRun.replace("adapt: { epochs: 2, iterations: 3,", "adapt: { epochs: 3, iterations: 150,")
    writeRunFile(home, adapted + baseline)
    browser = await launch(executable!)
    running = startMmt(home, "run", "tiny.yaml", "--serve")
    running.child.stderr!.on("data", (text: string) => {
      said += text
    })
    await vi.waitFor(() => expect(said).toMatch(/live page: http/), { timeout: 60_000 })
    url = /live page: (\S+)/.exec(said)![1]!
    live = await open(browser, url)
  })

  afterAll(async () => {
    await browser?.close()
    running?.child.kill("SIGINT")
    await running?.ended
    rmSync(home, { recursive: true, force: true })
  })

  describe("the live page, while the run goes on", () => {
    it("says where the run is, and says it anew by itself", async () => {
      const now = live.page.locator("#now")
      await expect.poll(() => now.textContent(), { timeout: 60_000 }).toMatch(/iteration/)
      expect(await now.locator(".state").textContent()).toBe("running")
      const before = await now.textContent()
      await expect.poll(() => now.textContent(), { timeout: 10_000 }).not.toBe(before)
      expect(running.child.exitCode).toBeNull()
    })

    it("offers the figures that cost seconds, and has no serious violation", async () => {
      expect(await live.page.locator("#map-figure figure").count()).toBe(0)
      expect(await seriousViolations(live.page)).toEqual([])
    })

    it("gets charts and scores without being loaded again, also while one is read", async () => {
      const marker = "as it was loaded"
      await live.page.evaluate((text) => Object.assign(globalThis, { marker: text }), marker)
      const charts = () => live.page.locator("figure.chart").count()
      await expect.poll(charts, { timeout: 90_000, interval: 200 }).toBeGreaterThan(0)
      const loss = live.page.locator("#loss-pretrain")
      await loss.locator("summary").click()
      await loss.locator("svg").first().hover()
      await expect.poll(() => live.page.locator("#now .state").textContent(), { timeout: 90_000 }).toBe("done")
      await live.page.mouse.move(2, 2)
      await expect.poll(() => live.page.locator("#score-map").count()).toBe(1)
      expect(await loss.locator("details").getAttribute("open")).not.toBeNull()
      expect(await live.page.evaluate(() => (globalThis as unknown as { marker?: string }).marker)).toBe(marker)
    })
  })

  describe("the live page, when the run is done", () => {
    it("is served on, and draws the map and the rankings when they come into view", async () => {
      await expect.poll(() => said, { timeout: 30_000 }).toContain("is open and is served on")
      for (const figure of ["map", "rankings"]) {
        await live.page.locator(`#${figure}-figure`).scrollIntoViewIfNeeded()
        await expect.poll(() => live.page.locator(`#${figure}-figure .${figure}`).count(), { timeout: 60_000 }).toBe(1)
      }
    })

    it("shows the numbers of the artifacts", () => expectNumbers(live.page, folder(), 3))

    it("has marks in every chart, which can be read, explored and filtered", async () => {
      expect(await chartsWithoutMarks(live.page)).toEqual([])
      await expectReadable(live.page, "loss-mmt")
      await expectExplorable(live.page)
      await expectFilterable(live.page)
    })

    it("has no serious violation, no error, and asked its own server alone", async () => {
      expect(await seriousViolations(live.page)).toEqual([])
      expectClean(live)
    })
  })

  describe("the report", () => {
    let report: Watched

    beforeAll(async () => {
      const { code, err } = await mmt(home, "report", folder())
      expect(code, err).toBe(0)
      report = await open(browser, pathToFileURL(join(folder(), "report.html")).href)
    })

    it("shows what the live page shows, and the numbers of the artifacts", async () => {
      expect(await tables(report)).toEqual(await tables(live))
      await expectNumbers(report.page, folder(), 3)
    })

    it("has marks in every chart, which can be read, explored and filtered", async () => {
      expect(await chartsWithoutMarks(report.page)).toEqual([])
      for (const id of await report.page.locator("figure.chart").evaluateAll((all) => all.map((figure) => figure.id)))
        await expectReadable(report.page, id)
      await expectExplorable(report.page)
      await expectFilterable(report.page)
    })

    it("has no serious violation, no error, and asked nobody", async () => {
      expect(await seriousViolations(report.page)).toEqual([])
      expectClean(report)
    })
  })

  describe("the list of runs", () => {
    it("names the run, leads to it, and has no serious violation", async () => {
      const list = await open(browser, new URL("/", url).href)
      expect(await list.page.locator("#runs .state").textContent()).toBe("done")
      expect(await seriousViolations(list.page)).toEqual([])
      await list.page.locator("#runs a").click()
      await expect.poll(() => list.page.locator("h1").textContent()).toBe("tiny")
      expectClean(list)
      await list.page.close()
    })
  })

  it("lets the run's command end with the last page", async () => {
    await live.page.close()
    const { code } = await running.ended
    expect(code).toBe(0)
  })
})
