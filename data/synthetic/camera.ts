/**
 * The two camera networks: what each of their cameras does to colours and stands before, and how an image is shot.
 * The source network is near to neutral and its cameras differ among themselves; the target network shares one strong
 * shift, its cameras differ little (strong casts per camera would make clusters that follow cameras).
 */
import { type Random, random } from "#data/random.ts"
import { CANVAS, figure, type Pose, type View } from "#data/synthetic/figure.ts"
import type { Domain, Identity, Rgb } from "#data/synthetic/identity.ts"
import { box, ellipse, limb, polygon } from "#data/synthetic/shapes.ts"

/** What happens to the colours of an image; on values of 0 to 1, in this order. */
export interface Tone {
  /** White balance: a factor of each channel. What it lifts above 1 is clipped. */
  readonly gain: Rgb
  readonly gamma: number
  /** Round the middle grey. */
  readonly contrast: number
  /** In levels of 0 to 255. */
  readonly brightness: number
}

/** One camera of a network. */
export interface Camera extends Tone {
  /** Standard deviation of the blur, in pixels of the image. */
  readonly blur: number
  readonly wall: Rgb
  readonly floor: Rgb
}

/** What all cameras of a network have in common. */
interface Network {
  readonly tone: (r: Random, angle: number) => Tone
  readonly blur: readonly [number, number]
  /** Standard deviation of the sensor's noise, in levels. */
  readonly noise: number
  readonly clutter: number
  readonly occluder: number
  /** How far the background's channels vary from image to image, in levels. */
  readonly background: number
  /** Of front, side and back. */
  readonly views: readonly [number, number, number]
  /** How far the light varies from image to image: white balance, logarithm of gamma, brightness. */
  readonly light: { readonly gain: number; readonly gamma: number; readonly brightness: number }
  readonly quality: number
}

/** The target's white balance, logarithm of gamma and contrast. */
const TARGET_SHIFT = { gain: [1.31, 1, 0.6], gamma: 0.44, contrast: 0.45 } as const
/** How far a target camera's cast leads away from that. */
const TARGET_CAST = 0.048

export const NETWORKS: Readonly<Record<Domain, Network>> = {
  source: {
    tone: (r) => ({
      gain: [r.uniform(0.9, 1.1), r.uniform(0.9, 1.1), r.uniform(0.9, 1.1)],
      gamma: Math.exp(r.uniform(-0.15, 0.15)),
      contrast: r.uniform(0.85, 1.05),
      brightness: r.uniform(-10, 10)
    }),
    blur: [0.2, 0.2],
    noise: 4,
    clutter: 2,
    occluder: 0.05,
    background: 35,
    views: [0.4, 0.2, 0.4],
    light: { gain: 0.035, gamma: 0.06, brightness: 6 },
    quality: 90
  },
  target: {
    tone: (r, angle) => {
      const cast = (channel: number) =>
        TARGET_SHIFT.gain[channel]! * (1 + TARGET_CAST * Math.cos(angle - (channel * 2 * Math.PI) / 3))
      return {
        gain: [cast(0), cast(1), cast(2)],
        gamma: Math.exp(TARGET_SHIFT.gamma + r.uniform(-0.07, 0.07)),
        contrast: TARGET_SHIFT.contrast + r.uniform(-0.03, 0.03),
        brightness: r.uniform(-3.6, 3.6)
      }
    },
    blur: [0.1, 0.3],
    // Noise, background and light vary less than in the study (6, 60, .07/.12/12): with its figures drawn here, what
    // adaptation could win was small (5 to 8 points of mAP on seeds 101 and 102).
    noise: 5,
    clutter: 3,
    occluder: 0.075,
    background: 50,
    views: [0.35, 0.3, 0.35],
    light: { gain: 0.052, gamma: 0.09, brightness: 9 },
    quality: 75
  }
}

/** The range of a wall's or a floor's channels before the jitter. */
const BACKGROUND = [45, 175] as const

/** The camera with this number (from 1) of a domain's `cameras`. */
export const camera = (seed: number, domain: Domain, number: number, cameras: number): Camera => {
  const r = random(seed, domain, "camera", number)
  const network = NETWORKS[domain]
  return {
    ...network.tone(r.derive("tone"), (2 * Math.PI * (number - 1)) / cameras),
    blur: r.uniform(...network.blur),
    wall: anyColour(r, ...BACKGROUND),
    floor: anyColour(r, ...BACKGROUND)
  }
}

/** One image to be made: the scene's SVG and what the camera does with it. */
export interface Shot {
  readonly svg: string
  /** The camera's tone, then that of the moment's light. */
  readonly tones: ReadonlyArray<Tone>
  readonly blur: number
  readonly noise: number
  /** Draws the noise. */
  readonly noiseFrom: Random
  readonly quality: number
}

/** A person in front of a camera; all that varies from image to image is drawn from `r`. */
export const shoot = (who: Identity, domain: Domain, by: Camera, r: Random): Shot => {
  const network = NETWORKS[domain]
  const pose = drawPose(r.derive("pose"), network.views)
  const scenery = r.derive("scenery")
  const light = r.derive("light")
  const shift = () => 1 + light.uniform(-network.light.gain, network.light.gain)
  return {
    svg:
      background(scenery, by, network) +
      figure(who, pose) +
      (scenery.chance(network.occluder) ? occluder(scenery, network.background) : ""),
    tones: [
      by,
      {
        gain: [shift(), shift(), shift()],
        gamma: Math.exp(light.uniform(-network.light.gamma, network.light.gamma)),
        contrast: 1,
        brightness: light.uniform(-network.light.brightness, network.light.brightness)
      }
    ],
    blur: by.blur,
    noise: network.noise,
    noiseFrom: r.derive("noise"),
    quality: network.quality
  }
}

const drawPose = (r: Random, views: readonly [number, number, number]): Pose => {
  const view = r.pick<View>(["front", "side", "back"], views)
  return {
    view,
    phase: r.uniform(-1, 1),
    // People walk to either side; a bag in the left hand stays there.
    mirrored: view === "side" && r.chance(0.5),
    scale: r.uniform(0.95, 1.05),
    offsetX: r.uniform(-0.05, 0.05),
    offsetY: r.uniform(-0.05, 0.05)
  }
}

const anyColour = (r: Random, lo: number, hi: number): Rgb => [r.uniform(lo, hi), r.uniform(lo, hi), r.uniform(lo, hi)]

const near = (r: Random, colour: Rgb, distance: number): Rgb => {
  const level = (value: number) => Math.round(Math.min(255, Math.max(0, value + r.uniform(-distance, distance))))
  return [level(colour[0]), level(colour[1]), level(colour[2])]
}

const background = (r: Random, by: Camera, network: Network): string => {
  const { height, width } = CANVAS
  const horizon = height * (0.6 + r.uniform(-0.06, 0.06))
  // The horizon tilts by a few pixels.
  const tilt = r.uniform(-4, 4)
  const wall = box(near(r, by.wall, network.background), 0, 0, width, height)
  const floor = near(r, by.floor, network.background)
  let scenery = wall + polygon(floor, 0, horizon - tilt, width, horizon + tilt, width, height, 0, height)
  for (let i = 0; i < network.clutter; i++) scenery += clutter(r)
  return scenery
}

const clutter = (r: Random): string => {
  const { height, width } = CANVAS
  const colour = near(r, [127.5, 127.5, 127.5], 127.5)
  const x = r.uniform(0, width)
  const y = r.uniform(0, height)
  switch (r.pick(["box", "ellipse", "bar"])) {
    case "box":
      return box(colour, x - 16, y - 30, r.uniform(8, 40), r.uniform(20, 90))
    case "ellipse":
      return ellipse(colour, x, y, r.uniform(7, 20), r.uniform(10, 46))
    default:
      return limb(colour, [x, y - 60], [x + r.uniform(-24, 24), y + r.uniform(0, 60)], r.uniform(3, 8))
  }
}

/** Something in front of the person: a block on the ground, or a post. */
const occluder = (r: Random, jitter: number): string => {
  const { height, width } = CANVAS
  const colour = near(r, anyColour(r, ...BACKGROUND), jitter)
  if (r.chance(0.7)) {
    const high = height * r.uniform(0.18, 0.32)
    const wide = width * r.uniform(0.6, 1.1)
    return box(colour, r.uniform(-0.1, 0.3) * width, height - high, wide, high)
  }
  const wide = width * r.uniform(0.08, 0.18)
  return box(colour, r.uniform(0.1, 0.9) * width - wide / 2, 0, wide, height)
}
