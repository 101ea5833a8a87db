/** The page of every kind of run: without labels, without a source, part-done, re-ranked, several, and with hostile names. */
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { diffRuns } from "#audit/difference.ts"
import { openRun } from "#audit/open-run.ts"
import { clusterings } from "#pipeline/clusterings.ts"
import { figures } from "#report/figures.ts"
import { cellsOf, drawnRuns, pageDataOf, pageOf, parsedPage } from "./drawn-reports.ts"
import { hostileNames } from "./hostile-names.ts"

const runs = drawnRuns()

type Page = Awaited<ReturnType<typeof pageOf>>["document"]

const sections = (document: Page) => [...document.querySelectorAll("main section")].map(({ id }) => id)
const charts = (document: Page) => [...document.querySelectorAll("figure.chart")].map(({ id }) => id)
const ids = (document: Page) => [...document.querySelectorAll("[id]")].map(({ id }) => id)

/** No number that could not be computed is shown as one. */
const numbersHold = (text: string) =>
  expect(text.replace(/<script[\s\S]*?<\/script>/g, "")).not.toMatch(/NaN|undefined|Infinity/)

describe("a run without labels", () => {
  it("has clusters, churn and the map, and nothing that needs identities", async () => {
    const { document, text } = await pageOf(await runs.draw("unlabelled", "unlabelled"))
    expect(sections(document)).toEqual(["scores", "training", "clusters", "map", "stages", "audit", "run-file"])
    expect(document.querySelector("#scores")!.textContent).toContain("Nothing is evaluated")
    expect(charts(document)).toEqual([
      ...["loss-mmt", "teacher-distance"],
      ...["label-churn", "cluster-count", "cluster-size", "cluster-size-histogram"]
    ])
    expect(document.querySelector("#clusters")!.textContent).toContain("not known")
    expect([...document.querySelectorAll("select[name=colour] option")].map(({ textContent }) => textContent)).toEqual([
      "cluster",
      "camera"
    ])
    numbersHold(text)
  })
})

describe("a run without a source", () => {
  it("has no source-only row and no pre-training", async () => {
    const { document, text } = await pageOf(await runs.draw("unsupervised", "unsupervised"))
    const [, ...rows] = cellsOf(document.querySelector("table.scores"))
    expect(rows.map(([name]) => name)).toEqual(["mmt"])
    expect(charts(document)).not.toContain("loss-pretrain")
    expect(document.querySelector(".headline .rest")!.textContent).not.toContain("against")
    numbersHold(text)
  })
})

describe("a run that goes on", () => {
  it.each([
    [
      "before anything is done",
      "decode/source-train",
      ["scores", "training", "clusters", "stages", "audit", "run-file"]
    ],
    [
      "in pre-training",
      "pretrain/student-1/epoch-002",
      ["scores", "training", "clusters", "stages", "audit", "run-file"]
    ],
    [
      "before the first clustering",
      "hard/cluster/epoch-001",
      ["scores", "training", "clusters", "rankings", "stages", "audit", "run-file"]
    ],
    [
      "in the second epoch",
      "train/epoch-002",
      ["scores", "training", "clusters", "map", "rankings", "stages", "audit", "run-file"]
    ]
  ])("is shown as far as it is: %s", async (name, first, expected) => {
    const folder = await runs.draw(name.replaceAll(" ", "-"), "whole", { until: (task) => task !== first })
    const { document, text } = await pageOf(folder)
    expect(sections(document)).toEqual(expected)
    expect(new Set(ids(document)).size).toBe(ids(document).length)
    numbersHold(text)
  })

  it("has the rows that are evaluated, and of the last one its epoch", async () => {
    const folder = await runs.draw("second-epoch", "whole", {
      until: (task) => task !== "embed/epoch-003/target-train"
    })
    const { document } = await pageOf(folder)
    const [, ...rows] = cellsOf(document.querySelector("table.scores"))
    expect(rows.map(([name, epoch]) => [name, epoch])).toEqual([
      ["source-only", "–"],
      ["hard", "3"],
      ["mmt", "2"]
    ])
  })
})

describe("a re-ranked run", () => {
  it("shows no junk, which has no re-ranked distance, and says so", async () => {
    const { document } = await pageOf(await runs.draw("reranked", "reranked"))
    expect(document.querySelectorAll(".strip li").length).toBeGreaterThan(100)
    expect(document.querySelectorAll(".strip li.junk").length).toBe(0)
    expect(document.querySelector(".rankings > p")!.textContent).toContain("is not shown")
  })
})

describe("several runs", () => {
  it("are side by side, each figure with a name of its own where theirs differ in signs alone", async () => {
    const folders = [
      await runs.draw("one", "whole", { label: "mmt 500" }),
      await runs.draw("two", "unsupervised", { label: "mmt-500" })
    ]
    const data = await pageDataOf(...folders)
    const { document, text } = parsedPage(data)
    expect(new Set(ids(document)).size).toBe(ids(document).length)
    const heads = [...document.querySelectorAll("table.scores .run")].map(({ textContent }) => textContent)
    expect(heads).toEqual(["mmt 500", "mmt-500"])
    expect(cellsOf(document.querySelector("table.differences"))[0]).toEqual(["key", "mmt 500", "mmt-500"])
    const files = figures(data).map(({ file }) => file)
    expect(new Set(files).size).toBe(files.length)
    for (const file of ["loss-mmt-1.svg", "loss-mmt-2.svg", "map-1.svg", "map-2.csv"]) expect(files).toContain(file)
    numbersHold(text)
  })
})

describe("names of a data set and of runs", () => {
  it("change nothing of a page but its texts, whatever they hold", async () => {
    const tags = ({ document }: { readonly document: Page }) =>
      [...document.querySelectorAll("*")].map(({ localName }) => localName)
    const elements = async (label: string, names?: ReadonlyArray<string>) => {
      const shared = { label, ...(names ? { names } : {}) }
      const folders = [
        await runs.draw(`${names ? "hostile" : "plain"}-1`, "whole", shared),
        await runs.draw(`${names ? "hostile" : "plain"}-2`, "unlabelled", { ...shared, label: `${label}2` })
      ]
      const data = await pageDataOf(...folders)
      return { page: parsedPage(data), figures: figures(data) }
    }
    // Queries of the same precision are in the order of their names, so the names are compared where they stand.
    const all = Array.from(
      { length: 40 },
      (_, i) => `${String(i).padStart(3, "0")}${hostileNames[i % hostileNames.length]}`
    )
    const plain = await elements(
      "plain",
      Array.from({ length: 40 }, (_, i) => `${String(i).padStart(3, "0")}.jpg`)
    )
    const hostile = await elements(hostileNames.join(""), all)
    expect(tags(hostile.page)).toEqual(tags(plain.page))
    const listening = [...hostile.page.document.querySelectorAll("*")].filter((element) =>
      [...element.attributes].some(({ name }) => name.startsWith("on"))
    )
    expect(listening).toEqual([])
    expect(hostile.figures.map(({ file }) => file)).toEqual(plain.figures.map(({ file }) => file))
    expect(hostile.figures.every(({ file }) => /^[a-z0-9-]+\.(svg|csv)$/.test(file))).toBe(true)
  })
})

describe("label churn", () => {
  it("is the same in mmt score, the report and mmt diff", async () => {
    const folder = await runs.draw("churn", "whole")
    const [data] = await pageDataOf(folder)
    const scored = await Effect.runPromise(clusterings(data!.run.config, folder))
    const opened = await Effect.runPromise(openRun(folder))
    const { churn } = await Effect.runPromise(diffRuns(opened, opened))
    const later = scored.filter(({ epoch }) => epoch > 1)
    expect(later.length).toBe(4)
    expect(
      churn.a.map(({ epoch, images, moved, nmi, variant }) => ({ name: variant, epoch, moved: moved / images, nmi }))
    ).toEqual(later.map(({ epoch, moved, name, nmi }) => ({ name, epoch, moved, nmi })))
    const shown = data!.clusterings.flatMap(({ epochs }) => epochs).filter(({ epoch }) => epoch > 1)
    expect(shown.map(({ moved, nmi }) => ({ moved, nmi }))).toEqual(later.map(({ moved, nmi }) => ({ moved, nmi })))
    expect(later.some(({ outliers }) => outliers > 0)).toBe(true)
  })
})
