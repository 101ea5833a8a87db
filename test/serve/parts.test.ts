/** What of a page is sent again: the smallest parts that have changed, and nothing else. */
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { html } from "#report/html.ts"
import { advanced, type Change, changesSince, container, eventText, type LivePage, type Part } from "#serve/parts.ts"

const leaf = (id: string, text: string): Part => ({ id, html: html`<p id="${id}">${text}</p>` })

const none: LivePage = { version: 0, parts: [] }

const ids = (changes: ReadonlyArray<Change>) => changes.map(({ id }) => id)

describe("a page in parts", () => {
  const first = advanced(none, [leaf("now", "a"), container("charts", "", [leaf("x", "1"), leaf("y", "1")])])

  it("is sent whole to one that has nothing", () => {
    expect(ids(changesSince(first.parts, 0))).toEqual(["now", "charts"])
    expect(changesSince(first.parts, first.version)).toEqual([])
  })

  it("stays as it is where nothing changed", () => {
    expect(advanced(first, [leaf("now", "a"), container("charts", "", [leaf("x", "1"), leaf("y", "1")])])).toBe(first)
  })

  it("sends the one member that changed, not what it stands in", () => {
    const next = advanced(first, [leaf("now", "a"), container("charts", "", [leaf("x", "1"), leaf("y", "2")])])
    expect(changesSince(next.parts, first.version)).toEqual([{ id: "y", html: '<p id="y">2</p>' }])
  })

  it("sends the whole container where a member came or went", () => {
    const next = advanced(first, [
      leaf("now", "a"),
      container("charts", "", [leaf("x", "1"), leaf("y", "1"), leaf("z", "1")])
    ])
    expect(ids(changesSince(next.parts, first.version))).toEqual(["charts"])
    const empty = advanced(next, [leaf("now", "a"), container("charts", "", [])])
    expect(ids(changesSince(empty.parts, next.version))).toEqual(["charts"])
    expect(
      ids(changesSince(advanced(empty, [leaf("now", "a"), container("charts", "", [])]).parts, empty.version))
    ).toEqual([])
  })

  it("is the newest page once the changes since any version that a reader has are put in", () => {
    const texts = fc.array(fc.constantFrom("a", "b", "c"), { maxLength: 3 })
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom("1", "2"), texts), { minLength: 2, maxLength: 6 }), (states) => {
        const pages: Array<LivePage> = []
        for (const [now, members] of states) {
          const parts = [
            leaf("now", now),
            container(
              "charts",
              "",
              members.map((text, i) => leaf(`m${i}`, text))
            )
          ]
          pages.push(advanced(pages.at(-1) ?? none, parts))
        }
        const shown = ({ parts }: LivePage) =>
          new Map(
            parts.flatMap((part) => [
              [part.id, part.text] as const,
              ...part.members.map((m) => [m.id, m.text] as const)
            ])
          )
        const last = pages.at(-1)!
        for (const page of pages) {
          const reader = new Map([...shown(page)].filter(([id]) => id !== "charts"))
          for (const { id, html } of changesSince(last.parts, page.version)) {
            if (id !== "charts") reader.set(id, html)
            else {
              for (const key of [...reader.keys()]) if (key !== "now") reader.delete(key)
              for (const { id: member, text } of last.parts[1]!.members) reader.set(member, text)
            }
          }
          expect(reader).toEqual(new Map([...shown(last)].filter(([id]) => id !== "charts")))
        }
      })
    )
  })
})

describe("an event", () => {
  it("is one line of data, whatever the part holds", () => {
    const text = eventText("b-3", { id: "now", html: "<p>\n\r\n\u2028data: x\n\n</p>" })
    expect(text).toMatch(/^id: b-3\nevent: part\ndata: [^\n\r]*\n\n$/)
    expect(JSON.parse(/data: ([^\n]*)/.exec(text)![1]!)).toEqual({ id: "now", html: "<p>\n\r\n\u2028data: x\n\n</p>" })
  })
})
