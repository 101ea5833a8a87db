/** The map of embeddings as a figure: points drawn as SVG, coloured and filtered by the page's script. */
import { colourOf, csvLines, paletteSize } from "#report/chart.ts"
import type { EmbeddingMap } from "#report/embedding-map.ts"
import { Html, html, jsonScript } from "#report/html.ts"
import type { Sheets } from "#report/thumbnails.ts"

const size = { width: 720, height: 520, margin: 12 } as const

/** Places on the drawing, the map's shape kept. */
const placesOf = ({ points }: EmbeddingMap) => {
  const [xs, ys] = [points.map(({ x }) => x), points.map(({ y }) => y)]
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)]
  const room = { width: size.width - 2 * size.margin, height: size.height - 2 * size.margin }
  const scale = Math.min(room.width / (right - left || 1), room.height / (bottom - top || 1))
  const shift = { x: (size.width - scale * (right - left)) / 2, y: (size.height - scale * (bottom - top)) / 2 }
  const rounded = (value: number) => Math.round(value * 10) / 10
  return points.map(({ x, y }) => ({
    x: rounded(shift.x + scale * (x - left)),
    y: rounded(shift.y + scale * (y - top))
  }))
}

/** Neighbouring numbers get colours far from each other. */
const fillOf = (id: number) => (id < 0 ? "var(--reference)" : colourOf((id * 3) % paletteSize))

/** The map as SVG, coloured by cluster. */
export const mapSvg = (map: EmbeddingMap): string => {
  const radius = map.points.length > 1500 ? 2.6 : 3.4
  const circles = placesOf(map).map(
    ({ x, y }, i) => `<circle cx="${x}" cy="${y}" r="${radius}" fill="${fillOf(map.points[i]!.cluster)}"/>`
  )
  return `<svg role="img" aria-label="Map of ${map.points.length} target images by their embeddings" viewBox="0 0 ${size.width} ${size.height}" width="${size.width}" height="${size.height}"><g class="points">${circles.join("")}</g></svg>`
}

export const mapCsv = ({ points }: EmbeddingMap): string =>
  csvLines([
    ["image", "x", "y", "cluster", "camera", "identity"],
    ...points.map(({ camera, cluster, image, person, x, y }) => [image, x, y, cluster, camera, person])
  ])

const option = (value: string | number, name: string) => html`<option value="${value}">${name}</option>`

/** The map with its controls; pictures are shown of the images on the sheets, which are in the points' order. */
export const mapFigure = (id: string, map: EmbeddingMap, sheets: Sheets): Html => {
  const { adaptation, epoch, of, points } = map
  const cameras = [...new Set(points.map(({ camera }) => camera))].sort((a, b) => a - b)
  const known = points.some(({ person }) => person >= 0)
  const sample = points.length < of ? `A sample of ${points.length} of the ${of}` : `All ${of}`
  return html`<figure class="map" id="${id}">
<figcaption>${sample} training images of the target, by the embeddings that epoch ${epoch} of ${adaptation} clustered: UMAP of their
15 nearest neighbours, seeded. Distances between groups mean little. Identities are read for this page alone.</figcaption>
<div class="controls">
<label>Colour by <select name="colour">${option("cluster", "cluster")}${option("camera", "camera")}${
    known ? [option("person", "identity"), option("agrees", "agreement with the cluster’s main identity")] : []
  }</select></label>
<label>Show <select name="camera">${option("", "all cameras")}${cameras.map((camera) => option(camera, `camera ${camera}`))}</select></label>
<span class="count" role="status">${points.length} images</span>
</div>
<div class="field"><div class="scroll plot" tabindex="0" role="application" aria-label="Map; arrow keys go from image to image">${new Html(mapSvg(map))}</div>
<div class="detail" aria-live="polite"><p class="quiet">Point at an image, or use the arrow keys.</p></div></div>
${jsonScript("points", {
  image: points.map(({ image }) => image),
  cluster: points.map(({ cluster }) => cluster),
  camera: points.map(({ camera }) => camera),
  person: points.map(({ person }) => person),
  agrees: points.map(({ agrees }) => (agrees === undefined ? -1 : Number(agrees))),
  sheets
})}
</figure>`
}
