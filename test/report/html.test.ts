/** HTML that nothing put into it can break out of. */
import fc from "fast-check"
import { parseHTML } from "linkedom"
import { describe, expect, it } from "vitest"
import { escaped, html, jsonScript } from "#report/html.ts"

const hostile = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.constantFrom(
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<!--<script>",
    "]]>",
    "' onload='x",
    "\u2028\u202e\u0000"
  )
)

const parsed = (text: string) => parseHTML(`<!doctype html><html><body>${text}</body></html>`).document

describe("html", () => {
  it("takes text for text, between tags and in attributes", () => {
    fc.assert(
      fc.property(hostile, hostile, (inside, attribute) => {
        const body = parsed(html`<p title="${attribute}">${inside}</p>`.text).body
        expect([...body.querySelectorAll("*")].map(({ localName }) => localName)).toEqual(["p"])
        expect(body.firstElementChild!.attributes.length).toBe(1)
      })
    )
  })

  it("puts HTML into HTML as it is, and leaves out what is not there", () => {
    expect(html`<b>${html`<i>${1}</i>`}${[html`<u></u>`, "<"]}${undefined}</b>`.text).toBe("<b><i>1</i><u></u>&lt;</b>")
  })

  it("keeps no character that would end the page or turn its text around", () => {
    expect(escaped("a\u0000b\u202ec\ud800")).toBe("a\ufffdb\ufffdc\ufffd")
  })
})

describe("jsonScript", () => {
  it("holds the data, and ends where it ends", () => {
    fc.assert(
      fc.property(fc.jsonValue(), hostile, (value, text) => {
        const data = { value, text }
        const { body } = parsed(jsonScript("data", data).text)
        expect(body.children.length).toBe(1)
        expect(JSON.parse(body.firstElementChild!.textContent!)).toEqual(JSON.parse(JSON.stringify(data)))
      })
    )
  })
})
