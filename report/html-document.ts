/** A whole HTML document with its style and scripts in it, and the policy under which a browser shows it. */
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { type Html, html } from "#report/html.ts"

export const textOf = (url: URL) => readFileSync(url, "utf8")

/** The style of all pages. */
export const style = textOf(new URL("./page/page.css", import.meta.url))

/** What makes charts readable, the map explorable and rankings filterable. */
export const figureScripts: ReadonlyArray<string> = [
  textOf(new URL("./page/charts.mjs", import.meta.url)),
  textOf(new URL("./page/map.mjs", import.meta.url)),
  textOf(new URL("./page/rankings.mjs", import.meta.url))
]

export interface HtmlDocument {
  readonly title: string
  readonly style: string
  /** Modules, run in this order. */
  readonly scripts: ReadonlyArray<string>
  /** Within `<head>`, after the charset. */
  readonly head?: Html
  readonly body: Html
}

const hashOf = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`

/** Nothing is fetched, and no script but the page's own runs, whatever the names in a data set hold; further directives may follow. */
export const policyOf = (
  { scripts, style }: Pick<HtmlDocument, "scripts" | "style">,
  ...further: ReadonlyArray<string>
): string =>
  [
    "default-src 'none'",
    "img-src data:",
    `script-src ${scripts.map(hashOf).join(" ")}`,
    `style-src ${hashOf(style)}`,
    "style-src-attr 'unsafe-inline'",
    "base-uri 'none'",
    "form-action 'none'",
    ...further
  ].join("; ")

export const htmlDocument = ({ title, style, scripts, head, body }: HtmlDocument): string => {
  const heads = html`<meta charset="utf-8">${head}
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>`
  return `<!doctype html>
<html lang="en"><head>${heads.text}<style>${style}</style></head><body>${body.text}${scripts
    .map((script) => `<script type="module">${script}</script>`)
    .join("")}</body></html>
`
}
