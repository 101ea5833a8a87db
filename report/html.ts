/** HTML as text that nothing can break out of: what is put into a template is escaped unless it is HTML itself. */

/** A piece of HTML. */
export class Html {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

type Piece = Html | string | number | undefined | ReadonlyArray<Piece>

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;"
}

/** Characters that neither HTML nor XML may hold, and the marks that turn the direction of the text around them. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out
const unprintable = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\ufffe\uffff]/g

/** Text as it may stand in HTML and SVG, between tags and in quoted attributes. */
export const escaped = (text: string): string =>
  text
    .toWellFormed()
    .replace(unprintable, "\ufffd")
    .replace(/[&<>"']/g, (character) => entities[character]!)

const shown = (piece: Piece): string => {
  if (piece === undefined) return ""
  if (piece instanceof Html) return piece.text
  return typeof piece === "object" ? piece.map(shown).join("") : escaped(String(piece))
}

/** A template of HTML. */
export const html = (strings: TemplateStringsArray, ...pieces: ReadonlyArray<Piece>): Html =>
  new Html(String.raw({ raw: strings }, ...pieces.map(shown)))

/** Data for a script of the page, as JSON within an element that is not run. */
export const jsonScript = (className: string, data: unknown): Html => {
  const text = JSON.stringify(data).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`
  )
  return new Html(`<script type="application/json" class="${escaped(className)}">${text}</script>`)
}
