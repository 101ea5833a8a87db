/**
 * Who is drawn: the attributes of a synthetic person, all from the seed. Source identities come in families of two
 * look-alikes, target identities are independent of each other.
 */
import { type Random, random } from "#data/random.ts"

export type Domain = "source" | "target"

/** Red, green, blue, 0 to 255. */
export type Rgb = readonly [number, number, number]

export type HairStyle = "short" | "long" | "bald" | "bun"
export type Hat = "none" | "cap" | "beanie"
export type Pattern = "plain" | "horizontal" | "vertical" | "two-tone" | "logo" | "open-jacket"
export type Sleeve = "short" | "long"
export type Bottom = "trousers" | "shorts" | "skirt" | "coat"
export type Bag = "none" | "backpack" | "shoulder" | "hand"
export type Logo = "circle" | "triangle" | "bar"

/** What a figure is drawn from. Colours are this person's own shade; lengths are factors of the usual. */
export interface Identity {
  readonly skin: Rgb
  readonly hair: Rgb
  readonly hairStyle: HairStyle
  readonly hat: Hat
  readonly hatColour: Rgb
  readonly top: Rgb
  readonly second: Rgb
  readonly pattern: Pattern
  readonly logo: Logo
  readonly sleeve: Sleeve
  readonly bottom: Bottom
  readonly legs: Rgb
  readonly shoes: Rgb
  readonly bag: Bag
  readonly bagColour: Rgb
  /** Shoulder width. */
  readonly build: number
  readonly height: number
}

const SKINS: ReadonlyArray<Rgb> = [
  [246, 212, 186],
  [232, 184, 148],
  [206, 152, 112],
  [168, 114, 78],
  [120, 78, 52],
  [82, 54, 40]
]

const HAIR: ReadonlyArray<Rgb> = [
  [24, 20, 20],
  [66, 44, 32],
  [112, 74, 44],
  [150, 68, 36],
  [216, 170, 88],
  [160, 158, 156]
]

/** Of tops, their second colour, hats and bags. */
const GARMENTS: ReadonlyArray<Rgb> = [
  [28, 28, 32],
  [240, 240, 240],
  [134, 136, 140],
  [204, 36, 38],
  [236, 124, 36],
  [242, 208, 52],
  [44, 122, 54],
  [104, 190, 110],
  [36, 150, 160],
  [52, 112, 204],
  [26, 44, 104],
  [124, 66, 168],
  [226, 112, 166],
  [112, 76, 48]
]

const LEGS: ReadonlyArray<Rgb> = [
  [26, 26, 30],
  [36, 48, 92],
  [74, 106, 158],
  [124, 126, 130],
  [236, 236, 232],
  [200, 178, 134],
  [108, 78, 54],
  [72, 90, 62]
]

const SHOES: ReadonlyArray<Rgb> = [
  [28, 26, 26],
  [240, 240, 240],
  [106, 68, 42],
  [192, 40, 44],
  [92, 100, 122]
]

const BUILDS = [0.88, 1, 1.14]

/** How each attribute is drawn. The first eleven are those by which the two of a family can differ. */
const VISIBLE = {
  hair: (r: Random) => r.pick(HAIR),
  hairStyle: (r: Random) => r.pick<HairStyle>(["short", "long", "bald", "bun"], [0.45, 0.3, 0.1, 0.15]),
  hat: (r: Random) => r.pick<Hat>(["none", "cap", "beanie"], [0.8, 0.1, 0.1]),
  top: (r: Random) => r.pick(GARMENTS),
  second: (r: Random) => r.pick(GARMENTS),
  pattern: (r: Random) =>
    r.pick<Pattern>(
      ["plain", "horizontal", "vertical", "two-tone", "logo", "open-jacket"],
      [0.35, 0.13, 0.13, 0.13, 0.13, 0.13]
    ),
  sleeve: (r: Random) => r.pick<Sleeve>(["short", "long"]),
  bottom: (r: Random) => r.pick<Bottom>(["trousers", "shorts", "skirt", "coat"], [0.5, 0.2, 0.15, 0.15]),
  legs: (r: Random) => r.pick(LEGS),
  shoes: (r: Random) => r.pick(SHOES),
  bag: (r: Random) => r.pick<Bag>(["none", "backpack", "shoulder", "hand"], [0.4, 0.25, 0.2, 0.15])
}

const SHARED = {
  skin: (r: Random) => r.pick(SKINS),
  hatColour: (r: Random) => r.pick(GARMENTS),
  bagColour: (r: Random) => r.pick(GARMENTS),
  build: (r: Random) => r.pick(BUILDS)
}

type Attribute = keyof typeof VISIBLE
type Attributes = { readonly [K in Attribute]: ReturnType<(typeof VISIBLE)[K]> } & {
  readonly [K in keyof typeof SHARED]: ReturnType<(typeof SHARED)[K]>
}

const VISIBLE_NAMES = Object.keys(VISIBLE) as ReadonlyArray<Attribute>

/** How many of the eleven visible attributes are drawn again for the second of a family. */
const REDRAWN = 4

const drawAll = (draws: Readonly<Record<string, (r: Random) => unknown>>, r: Random) =>
  Object.fromEntries(Object.entries(draws).map(([name, draw]) => [name, draw(r.derive(name))]))

const drawAttributes = (r: Random): Attributes => drawAll({ ...VISIBLE, ...SHARED }, r) as Attributes

const lookAlike = (of: Attributes, r: Random): Attributes => {
  const redrawn = r.derive("which").shuffle(VISIBLE_NAMES).slice(0, REDRAWN)
  const draws = Object.fromEntries(redrawn.map((name) => [name, VISIBLE[name]]))
  return { ...of, ...drawAll(draws, r) }
}

const attributesOf = (seed: number, domain: Domain, person: number): Attributes => {
  if (domain === "target") return drawAttributes(random(seed, domain, "person", person))
  const family = Math.floor((person - 1) / 2)
  const first = drawAttributes(random(seed, domain, "family", family))
  return person % 2 === 1 ? first : lookAlike(first, random(seed, domain, "look-alike", family))
}

/**
 * The person with this number (from 1) in a domain. The colours and lengths that a family shares are jittered for each of
 * the two: hue ±0.02 of the circle, saturation and value ±0.06, shoulders ±3 %, height ±5 %.
 */
export const identity = (seed: number, domain: Domain, person: number): Identity => {
  const attributes = attributesOf(seed, domain, person)
  const r = random(seed, domain, "jitter", person)
  const shade = (colour: Rgb): Rgb =>
    shiftHsv(colour, r.uniform(-0.02, 0.02), r.uniform(-0.06, 0.06), r.uniform(-0.06, 0.06))
  return {
    ...attributes,
    skin: shade(attributes.skin),
    hair: shade(attributes.hair),
    hatColour: shade(attributes.hatColour),
    top: shade(attributes.top),
    second: shade(attributes.second),
    legs: shade(attributes.legs),
    shoes: shade(attributes.shoes),
    bagColour: shade(attributes.bagColour),
    logo: r.pick<Logo>(["circle", "triangle", "bar"]),
    build: attributes.build * r.uniform(0.97, 1.03),
    height: r.uniform(0.95, 1.05)
  }
}

const clamp01 = (x: number) => Math.min(1, Math.max(0, x))

/** The colour with its hue (in turns), saturation and value (0 to 1) shifted. */
export const shiftHsv = (colour: Rgb, hueShift: number, saturationShift: number, valueShift: number): Rgb => {
  const [red, green, blue] = colour
  const most = Math.max(red, green, blue)
  const range = most - Math.min(red, green, blue)
  const sixth =
    range === 0
      ? 0
      : most === red
        ? (green - blue) / range
        : most === green
          ? 2 + (blue - red) / range
          : 4 + (red - green) / range
  const hue = (((sixth / 6 + hueShift) % 1) + 1) % 1
  const saturation = clamp01((most === 0 ? 0 : range / most) + saturationShift)
  const value = clamp01(most / 255 + valueShift)
  const channel = (offset: number) => {
    const k = (offset + hue * 6) % 6
    return Math.round(255 * value * (1 - saturation * clamp01(Math.min(k, 4 - k))))
  }
  return [channel(5), channel(3), channel(1)]
}
