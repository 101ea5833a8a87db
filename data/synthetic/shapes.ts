/** The few SVG shapes that figures and backgrounds are made of. Coordinates are rounded to whole units: short and exact. */
import type { Rgb } from "#data/synthetic/identity.ts"

const hex = ([red, green, blue]: Rgb) => `#${((1 << 24) | (red << 16) | (green << 8) | blue).toString(16).slice(1)}`

const round = Math.round

/** A filled polygon through the points x, y, x, y, … */
export const polygon = (fill: Rgb, ...points: ReadonlyArray<number>): string =>
  `<path fill="${hex(fill)}" d="M${points.map(round).join(" ")}z"/>`

/** A rectangle between two heights and two sides, its corners rounded by `radius`. */
export const box = (fill: Rgb, left: number, low: number, width: number, height: number, radius = 0): string =>
  `<rect fill="${hex(fill)}" x="${round(left)}" y="${round(low)}" width="${round(width)}" height="${round(height)}"${radius > 0 ? ` rx="${round(radius)}"` : ""}/>`

export const ellipse = (fill: Rgb, x: number, y: number, radiusX: number, radiusY: number): string =>
  `<ellipse fill="${hex(fill)}" cx="${round(x)}" cy="${round(y)}" rx="${round(radiusX)}" ry="${round(radiusY)}"/>`

/** The half of an ellipse with greater y. */
export const dome = (fill: Rgb, x: number, y: number, radiusX: number, radiusY: number): string =>
  `<path fill="${hex(fill)}" d="M${round(x - radiusX)} ${round(y)}a${round(radiusX)} ${round(radiusY)} 0 0 0 ${2 * round(radiusX)} 0z"/>`

/** A straight limb from one joint to another, as wide as told at either. */
export const limb = (
  fill: Rgb,
  from: readonly [number, number],
  to: readonly [number, number],
  width: number,
  widthAtEnd = width
): string =>
  polygon(
    fill,
    from[0] - width / 2,
    from[1],
    from[0] + width / 2,
    from[1],
    to[0] + widthAtEnd / 2,
    to[1],
    to[0] - widthAtEnd / 2,
    to[1]
  )
