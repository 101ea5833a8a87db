/** What is to be true of a run's figures in any page that shows them, in a browser. */
import { join } from "node:path"
import type { Page } from "playwright-core"
import { expect } from "vitest"
import { rowsOf } from "../report/drawn-reports.ts"

/** Rows of a chart's table, as numbers; what is missing is NaN. */
export const chartRows = (page: Page, id: string): Promise<ReadonlyArray<ReadonlyArray<number>>> =>
  page
    .locator(`#${id} tbody tr`)
    .evaluateAll((rows) =>
      rows.map((row) =>
        Array.from(row.querySelectorAll("th, td"), ({ textContent }) => Number.parseFloat(textContent ?? ""))
      )
    )

/** Charts by what they have drawn: those without a line, a dot or a bar. */
export const chartsWithoutMarks = (page: Page): Promise<ReadonlyArray<string>> =>
  page.locator("figure.chart").evaluateAll((figures) =>
    figures.flatMap((figure) => {
      const marks = figure.querySelectorAll(
        "svg [data-name=line] path[d], svg [data-name=dot] circle, svg [data-name=rect] rect"
      )
      const drawn = [...marks].filter(
        (mark) => (mark as SVGGraphicsElement).getBBox().width + (mark as SVGGraphicsElement).getBBox().height > 0
      )
      return drawn.length > 0 ? [] : [figure.id]
    })
  )

/** Pointing at a chart, and the arrow keys, show a row of the table behind it. */
export const expectReadable = async (page: Page, id: string) => {
  const figure = page.locator(`#${id}`)
  await figure.scrollIntoViewIfNeeded()
  const reading = figure.locator(".reading")
  const cells = await figure.locator("tbody tr").last().locator("th, td").allTextContents()
  await figure.locator("svg").first().hover()
  await expect.poll(() => reading.getAttribute("class")).toContain("shown")
  await page.mouse.move(2, 2)
  await expect.poll(() => reading.getAttribute("class")).not.toContain("shown")
  await figure.focus()
  await page.keyboard.press("End")
  const shown = await reading.textContent()
  for (const cell of cells.filter((text) => text !== "–")) expect(shown).toContain(cell)
  await page.keyboard.press("Escape")
  expect(await reading.textContent()).toBe("")
  await figure.blur()
}

/** The map's filters leave the points of one camera, and pointing at one shows its image. */
export const expectExplorable = async (page: Page) => {
  const map = page.locator("figure.map")
  await map.scrollIntoViewIfNeeded()
  const points = map.locator("circle:not(.ring)")
  const all = await points.count()
  expect(all).toBeGreaterThan(4)
  const camera = map.locator("[name=camera]")
  const cameras = await camera
    .locator("option")
    .evaluateAll((options) => options.map((one) => (one as HTMLOptionElement).value))
  let left = 0
  for (const value of cameras.filter((one) => one !== "")) {
    await camera.selectOption(value)
    const shown = await map.locator("circle:not(.ring):not(.hidden)").count()
    expect(await map.locator(".count").textContent()).toBe(`${shown} images`)
    left += shown
  }
  expect(left).toBe(all)
  await camera.selectOption("")
  const before = await points.first().getAttribute("fill")
  await map.locator("[name=colour]").selectOption("camera")
  const fills = new Set(await points.evaluateAll((circles) => circles.map((circle) => circle.getAttribute("fill"))))
  expect(fills.size).toBe(cameras.length - 1)
  expect(before).not.toBeNull()
  await points.nth(3).hover({ force: true })
  await expect.poll(() => map.locator(".detail .picture").count()).toBe(1)
  await map.locator(".plot").focus()
  const name = await map.locator(".detail bdi").textContent()
  for (const key of ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"]) await page.keyboard.press(key)
  expect(await map.locator(".detail bdi").textContent()).not.toBe("")
  expect(name).not.toBe("")
}

/** The filters of the strips leave the queries that they name, and all images of the strips are there. */
export const expectFilterable = async (page: Page) => {
  const rankings = page.locator(".rankings")
  await rankings.scrollIntoViewIfNeeded()
  const shown = rankings.locator(".query:not([hidden])")
  const all = await shown.count()
  let left = 0
  for (const standing of ["worst", "middle", "best"]) {
    await rankings.locator("[name=standing]").selectOption(standing)
    const now = await shown.count()
    expect(await rankings.locator(`.query:not([hidden])[data-standing=${standing}]`).count()).toBe(now)
    expect(await rankings.locator(".count").textContent()).toBe(`${now} queries`)
    left += now
  }
  expect(left).toBe(all)
  await rankings.locator("[name=standing]").selectOption("")
  const images = await rankings
    .locator("img")
    .evaluateAll((all) => all.map((one) => (one as HTMLImageElement).naturalWidth))
  expect(images.length).toBeGreaterThan(all)
  expect(images.filter((width) => width === 0)).toEqual([])
}

const mean = (values: ReadonlyArray<number>) => values.reduce((a, b) => a + b, 0) / values.length

/** Numbers of the page against the Arrow files of its run: scores, curves, losses, clusters, first ranks. */
export const expectNumbers = async (page: Page, run: string, epochs: number) => {
  const epochName = (epoch: number) => `epoch-${String(epoch).padStart(3, "0")}`
  const metric = (task: string, name: string) =>
    100 * Number(rowsOf(run, task, "metrics.arrow").find((row) => row.name === name)!.value)
  const teachers = (epoch: number) => [1, 2].map((i) => `evaluate/${epochName(epoch)}/teacher-${i}`)
  const all = Array.from({ length: epochs }, (_, i) => i + 1)

  const scores = await page.locator("table.scores tr.main").locator("th, td").allTextContents()
  for (const [i, name] of ["mAP", "top-1", "top-5", "top-10"].entries())
    expect(scores[2 + i]).toBe(mean(teachers(epochs).map((task) => metric(task, name))).toFixed(1))

  const names = await page.locator("#score-map thead th").allTextContents()
  const curve = await chartRows(page, "score-map")
  expect(curve.map((row) => row[names.indexOf("mmt")]!.toFixed(1))).toEqual(
    all.map((epoch) => mean(teachers(epoch).map((task) => metric(task, "mAP"))).toFixed(1))
  )

  const lossNames = await page.locator("#loss-mmt thead th").allTextContents()
  const losses = await chartRows(page, "loss-mmt")
  const totals = all.flatMap((epoch) =>
    rowsOf(run, "train", epochName(epoch), "train-metrics.arrow").map((row) => Number(row.total))
  )
  const shown = losses.map((row) => row[lossNames.indexOf("total")]!)
  expect(shown.length).toBeLessThanOrEqual(totals.length)
  if (shown.length === totals.length) for (const [i, total] of totals.entries()) expect(shown[i]).toBeCloseTo(total, 3)
  else expect(mean(shown)).toBeCloseTo(mean(totals), 1)

  const clusters = await chartRows(page, "cluster-count")
  const clusterNames = await page.locator("#cluster-count thead th").allTextContents()
  expect(clusters.map((row) => row[clusterNames.indexOf("mmt")])).toEqual(
    all.map((epoch) => {
      const labels = rowsOf(run, "cluster", epochName(epoch), "pseudo-labels.arrow").map((row) => Number(row.label))
      return new Set(labels.filter((label) => label >= 0)).size
    })
  )
  await expectFirstRanks(page, join(run, "evaluate", epochName(epochs), "teacher-1"))
}

/** The first ranks of every strip by the last method are those of the ranking's rows. */
const expectFirstRanks = async (page: Page, task: string) => {
  const byQuery = Map.groupBy(rowsOf(task, "ranking.arrow"), (row) => String(row.query))
  const strips = await page.locator(".rankings .query").evaluateAll((articles) =>
    articles.map((article) => {
      const last = [...article.querySelectorAll(".strip")].at(-1)!
      const items = [...last.querySelectorAll("li:not(.junk)")]
      return {
        query: article.querySelector("h4")!.textContent!,
        images: items.map((item) => (item.querySelector("[title]")!.getAttribute("title") ?? "").split("\n")[0]),
        right: items.map((item) => item.classList.contains("right"))
      }
    })
  )
  expect(strips.length).toBeGreaterThan(3)
  for (const { query, images, right } of strips) {
    const rows = byQuery
      .get(query)!
      .toSorted((a, b) => Number(a.rank) - Number(b.rank))
      .slice(0, images.length)
    expect(images).toEqual(rows.map((row) => row.gallery))
    expect(right).toEqual(rows.map((row) => row.match))
  }
}
