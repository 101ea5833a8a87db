/** A chart of series with any names: its drawing, its table and its CSV hold them as they are. */
import { parseHTML } from "linkedom"
import { describe, expect, it } from "vitest"
import { type Chart, chartCsv, chartFigure, drawChart } from "#report/chart.ts"
import { hostileNames } from "./hostile-names.ts"

const chartOf = (names: ReadonlyArray<string>): Chart => ({
  id: "of-names",
  title: `Of ${names[0]}`,
  about: "Three values a name.",
  kind: "lines",
  x: { label: "epoch", values: [1, 2, 3], digits: 0 },
  y: { label: "mAP, %", digits: 1 },
  series: names.map((name, colour) => ({ name, colour, values: [colour, Number.NaN, colour + 1] })),
  references: [{ name: names.at(-1)!, value: 0.5, colour: -1 }]
})

const { document } = parseHTML("<!doctype html><html><body></body></html>")

const parsed = (text: string) => {
  const body = document.createElement("div")
  body.innerHTML = text
  return body
}

const tagsOf = (text: string) => [...parsed(text).querySelectorAll("*")].map(({ localName }) => localName)

const plainTags = tagsOf(chartFigure(chartOf(["a", "b"])).text)

describe("a chart's figure", () => {
  it.each(hostileNames.map((name, i) => [i, name] as const))(
    "has the elements that plain names give it: name %i",
    (_, name) => {
      expect(tagsOf(chartFigure(chartOf([name, "b"])).text)).toEqual(plainTags)
      expect(tagsOf(chartFigure(chartOf(["a", name])).text)).toEqual(plainTags)
    }
  )
})

describe("a chart's drawing", () => {
  it.each([["$&"], ["$`$'"], ["$<name>"], ["a & b"], ['"quoted"']])("has the name %j beside its line", (name) => {
    const labels = [...parsed(drawChart(chartOf([name, "b"])).svg).querySelectorAll("g[font-size] > text")]
    expect(labels.map(({ textContent }) => textContent)).toContain(name)
  })

  it("cuts a long name between letters, not within one", () => {
    const letter = "👩‍👩‍👧"
    const { svg } = drawChart(chartOf([letter.repeat(40), "b"]))
    const text = [...parsed(svg).querySelectorAll("g[font-size] > text")].map(({ textContent }) => textContent!)
    expect(text).toContain(`${letter.repeat(25)}…`)
    expect(svg.isWellFormed()).toBe(true)
  })
})

describe("a chart's CSV", () => {
  it("quotes what must be quoted", () => {
    expect(chartCsv(chartOf(['a,"b"', "c"]))).toBe('epoch,"a,""b""",c,c\n1,0,1,0.5\n2,,,0.5\n3,1,2,0.5\n')
  })
})
