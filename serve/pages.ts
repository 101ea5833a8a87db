/** The pages that the server gives: the list of runs, a run, and what it says where there is nothing. */
import { type Html, html } from "#report/html.ts"
import { figureScripts, htmlDocument, style as pageStyle, policyOf, textOf } from "#report/html-document.ts"
import { partsNavigation, sectionHtml, written } from "#report/page.ts"
import { runPath } from "#serve/run-list.ts"
import { liveSections, partsOf, type SeenRun } from "#serve/run-page.ts"

const style = pageStyle + textOf(new URL("./page/live.css", import.meta.url))
const scripts = [...figureScripts, textOf(new URL("./page/live.mjs", import.meta.url))]

/** As the report's, but that the page may ask this server; no other page may hold it in a frame. */
export const livePolicy = policyOf({ scripts, style }, "connect-src 'self'", "frame-ancestors 'none'")

const lost = html`<p id="connection" role="status" hidden>The server does not answer; the page shows what it said last, and goes on when it is back.</p>`

/** Where the page listens, and what it has already. */
const listening = (events: string, edition: string) =>
  html`<div id="live" data-events="${events}?since=${encodeURIComponent(edition)}" hidden></div>`

const shell = (title: string, body: Html) => htmlDocument({ title: `${title} – mmt`, style, scripts, body })

/** The page of a run; `edition` names the state in which its parts are. */
export const runPage = (id: string, seen: SeenRun, edition: string): string => {
  const parts = new Map(partsOf(seen).map((part) => [part.id, part.html]))
  const sections = seen.data ? liveSections(seen, seen.data) : []
  const own = ["about", "problem", "now", "headline-block"].map((part) => parts.get(part))
  return shell(
    id,
    html`<header><p class="up"><a href="/">All runs</a></p><h1>${seen.data?.run.label ?? id}</h1>${own}${lost}</header>
${partsNavigation(sections.map(({ section }) => section))}
<main>${sections.map(({ section, parts: inner }) => sectionHtml(section, html`${inner.map((part) => part.html)}`))}</main>
<footer>${written}</footer>${listening(`${runPath(id)}/events`, edition)}`
  )
}

/** The list of the runs. */
export const listPage = (list: Html, edition: string): string =>
  shell("Runs", html`<header><h1>Runs</h1>${lost}</header><main>${list}</main>${listening("/events", edition)}`)

/** A page that says what is wrong. */
export const problemPage = (problem: string): string =>
  shell(
    "Not here",
    html`<header><h1>Not here</h1></header><main><p>${problem}</p><p><a href="/">All runs</a></p></main>`
  )
