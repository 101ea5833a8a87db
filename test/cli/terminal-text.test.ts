/** Texts as wide as a terminal shows them. */
import fc from "fast-check"
import { expect, it } from "vitest"
import { columnsOf, cut, printable } from "#cli/terminal-text.ts"

it.each([
  ["plain", 5],
  ["größe", 5],
  ["東京", 4],
  ["👩‍👩‍👧", 2],
  ["a…·", 3],
  ["", 0]
])("%j takes %d columns", (text, columns) => {
  expect(columnsOf(text)).toBe(columns)
})

it("is cut between letters, to at most the width", () => {
  expect(cut("東京タワー", 6)).toBe("東京…")
  expect(cut("abcdef", 6)).toBe("abcdef")
  expect(cut("abcdefg", 6)).toBe("abcde…")
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), fc.integer({ min: 0, max: 20 }), (text, columns) => {
      expect(columnsOf(cut(printable(text), columns))).toBeLessThanOrEqual(columns)
    })
  )
})

it("has nothing left that moves a cursor or turns the text", () => {
  expect(printable("a\x1b[2J\r\n\u202eb\ud800")).toBe("a�[2J���b�")
})
