/** Ranking strips: a query and the first images of the gallery, right ones green, wrong ones red, junk grey. */
import { escaped, type Html, html } from "#report/html.ts"
import type { Found, QueryStrips, Rankings, Strip } from "#report/rankings.ts"

/** Data URIs by image name. */
export type Pictures = ReadonlyMap<string, string>

/** All gallery images that the strips show. */
export const shownImages = ({ queries }: Rankings): ReadonlySet<string> =>
  new Set(queries.flatMap(({ strips }) => strips.flatMap(({ found }) => found.map(({ image }) => image))))

const signs = { right: "✓", wrong: "✗", junk: "junk" } as const

const percent = (share: number) => `${(100 * share).toFixed(1)} %`

const picture = (uri: string | undefined, alt: string, title: string) =>
  uri === undefined
    ? html`<span class="missing" role="img" aria-label="${alt}">no image</span>`
    : html`<img src="${uri}" alt="${alt}" title="${title}">`

interface Faces {
  readonly pictures: Pictures
  readonly people: ReadonlyMap<string, { readonly person: number; readonly camera: number }>
}

const foundItem = ({ distance, image, rank, verdict }: Found, { people, pictures }: Faces) => {
  const { camera, person } = people.get(image) ?? { camera: 0, person: -1 }
  const place = rank === undefined ? "junk, not counted" : `rank ${rank}, ${verdict}`
  const about = `${place}: identity ${person}, camera ${camera}, distance ${distance.toFixed(3)}`
  return html`<li class="${verdict}">${picture(pictures.get(image), about, `${image}\n${about}`)}<span aria-hidden="true">${
    rank === undefined ? "" : `${rank} `
  }${signs[verdict]}</span></li>`
}

const stripRow = (strip: Strip, method: number, hidden: boolean, faces: Faces) =>
  html`<div class="strip" data-method="${method}"${hidden ? html` hidden` : ""}><p><b>${strip.method}</b> AP ${percent(
    strip.averagePrecision
  )}, first right image at rank ${strip.firstMatch}</p><ol>${strip.found.map((found) => foundItem(found, faces))}</ol></div>`

const queryArticle = (
  { camera, person, query, standing, strips }: QueryStrips,
  methods: ReadonlyArray<string>,
  queries: Pictures,
  faces: Faces
) => {
  const about = `query: identity ${person}, camera ${camera}`
  const last = methods.length - 1
  return html`<article class="query" data-standing="${standing}" data-camera="${camera}">
<div class="asked">${picture(queries.get(query), about, query)}<p>identity ${person}<br>camera ${camera}</p></div>
<div class="strips"><h4><bdi>${query}</bdi></h4>${strips.map((strip) => {
    const method = methods.indexOf(strip.method)
    return stripRow(strip, method, method !== last, faces)
  })}</div></article>`
}

const option = (value: string | number, name: string, selected = false) =>
  html`<option value="${value}"${selected ? html` selected` : ""}>${name}</option>`

/** The strips of all chosen queries with their filters. */
export const rankingsFigure = (id: string, rankings: Rankings, queryPictures: Pictures, pictures: Pictures): Html => {
  const { images, methods, of, queries, reranked } = rankings
  const faces = { pictures, people: new Map(images.gallery.rows.map((row) => [row.image, row])) }
  const cameras = [...new Set(queries.map(({ camera }) => camera))].sort((a, b) => a - b)
  const last = methods.length - 1
  return html`<div class="rankings" id="${id}">
<p>${queries.length} of ${of} queries, chosen by their average precision under ${methods[last]}: the worst first, some from the middle, the best.
Each with the first ten of the gallery: ✓ right, ✗ wrong; junk (the query’s own identity on its own camera, detections of nobody) ${
    reranked
      ? "does not count and is not shown, since the ranks are by re-ranked distances, which it has not."
      : "is shown where it lies and does not count."
  }</p>
<div class="controls">
<label>Ranked by <select name="method">${methods.map((name, i) => option(i, name, i === last))}${
    methods.length > 1 ? option("", "all of them") : ""
  }</select></label>
<label>Queries <select name="standing">${option("", "all")}${option("worst", "worst")}${option("middle", "from the middle")}${option("best", "best")}</select></label>
<label>From <select name="camera">${option("", "all cameras")}${cameras.map((camera) => option(camera, `camera ${camera}`))}</select></label>
<span class="count" role="status">${queries.length} queries</span>
</div>
${queries.map((query) => queryArticle(query, methods, queryPictures, faces))}
</div>`
}

const cell = { width: 44, height: 88, gap: 6, label: 16 } as const

/** Queries of a figure: enough to see what goes wrong, few enough for a page. */
const figureQueries = 8

/** A query with its strip by the last method, at this height. */
const stripSvg = ({ query, strips }: QueryStrips, y: number, queries: Pictures, pictures: Pictures) => {
  const image = (uri: string | undefined, x: number, colour: string) =>
    `<image x="${x}" y="${y}" width="${cell.width}" height="${cell.height}" href="${uri ?? ""}" preserveAspectRatio="none"/><rect x="${x}" y="${y}" width="${cell.width}" height="${cell.height}" fill="none" stroke="${colour}" stroke-width="3"/>`
  const colours = { right: "var(--right)", wrong: "var(--wrong)", junk: "var(--reference)" } as const
  const under = (x: number, text: string) =>
    `<text x="${x + cell.width / 2}" y="${y + cell.height + 13}" text-anchor="middle">${escaped(text)}</text>`
  const items = strips.at(-1)!.found.map((found, i) => {
    const x = (i + 1) * (cell.width + cell.gap) + 14
    return `${image(pictures.get(found.image), x, colours[found.verdict])}${under(x, `${found.rank ?? ""} ${signs[found.verdict]}`)}`
  })
  return `${image(queries.get(query), 2, "var(--ink)")}${under(2, "query")}${items.join("")}`
}

/** Strips of queries from the worst to the best by the last method, as SVG. */
export const stripsSvg = ({ queries }: Rankings, queryPictures: Pictures, pictures: Pictures): string => {
  const step = Math.max(1, queries.length / figureQueries)
  const chosen = queries.filter((_, i) => Math.floor(i / step) > Math.floor((i - 1) / step))
  const row = cell.height + cell.label + cell.gap
  const longest = Math.max(0, ...chosen.map(({ strips }) => strips.at(-1)!.found.length))
  const [width, height] = [(longest + 1) * (cell.width + cell.gap) + 18, chosen.length * row + 4]
  const rows = chosen.map((query, i) => stripSvg(query, 2 + i * row, queryPictures, pictures))
  return `<svg role="img" aria-label="Rankings of ${chosen.length} queries" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-size="11">${rows.join("")}</svg>`
}
