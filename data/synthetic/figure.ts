/**
 * The drawing of a person: flat shapes in thousandths of the person's height, x to the right of the body's middle, y up
 * from the ground; `figure` sets them on the canvas. Seen from the side, the person walks to the right.
 */
import type { Identity } from "#data/synthetic/identity.ts"
import { box, dome, ellipse, limb, polygon } from "#data/synthetic/shapes.ts"

/** The canvas, four times the image in either direction. */
export const CANVAS = { width: 128, height: 256 } as const

export type View = "front" | "side" | "back"

/** How a person stands in one image. */
export interface Pose {
  readonly view: View
  /** Of the walk, −1 to 1: where the legs and arms swing. */
  readonly phase: number
  readonly mirrored: boolean
  readonly scale: number
  /** In shares of the canvas. */
  readonly offsetX: number
  readonly offsetY: number
}

const HIP = 450
const SHOULDER = 815
const HEAD = { y: 918, radiusX: 68, radiusY: 80 } as const
const COAT_HEM = 230

/** How far a foot swings from the hip, by view. */
const STRIDE: Readonly<Record<View, number>> = { front: 45, side: 130, back: 45 }

/** A person of usual height stands so tall on the canvas, with the ground so far down. */
const TALL = 222 / CANVAS.height
const GROUND = 0.945

/** What the parts of a drawing need to know: the person, the view and the measures that follow from both. */
interface Body {
  readonly who: Identity
  readonly view: View
  readonly stride: number
  /** Half the width at the shoulders and at the hem of the top. */
  readonly shoulder: number
  readonly waist: number
  readonly hem: number
  /** Where a bag hangs: the person's left is on the right of the image from the front. */
  readonly bagSide: number
}

const bodyOf = (who: Identity, pose: Pose): Body => {
  const shoulder = (pose.view === "side" ? 68 : 114) * who.build
  const hem = who.bottom === "coat" ? COAT_HEM : HIP
  return {
    who,
    view: pose.view,
    stride: STRIDE[pose.view] * pose.phase,
    shoulder,
    waist: shoulder * (who.bottom === "coat" ? 0.98 : 0.88),
    hem,
    bagSide: pose.view === "back" ? -1 : 1
  }
}

/** Half the width of the top at a height. */
const halfWidth = (body: Body, y: number) =>
  body.waist + ((body.shoulder - body.waist) * (y - body.hem)) / (SHOULDER - body.hem)

/** A piece of the top between two heights and two shares (−1 to 1) of its half width. */
const patch = (body: Body, high: number, low: number, left: number, right: number, fill = body.who.second) => {
  const above = halfWidth(body, high)
  const below = halfWidth(body, low)
  return polygon(fill, left * above, high, right * above, high, right * below, low, left * below, low)
}

const leg = (body: Body, side: number): string => {
  const { who, view } = body
  const hipX = view === "side" ? side * 14 : side * 45
  // From the front the feet come together and part; from the side one is ahead of the other.
  const footX = hipX + side * body.stride
  const ahead = view === "side" ? 20 : 0
  const hip = [hipX, HIP + 20] as const
  const ankle = [footX, 24] as const
  const shoe = ellipse(who.shoes, footX + ahead, 20, view === "side" ? 54 : 44, 22)
  if (who.bottom === "trousers" || who.bottom === "coat") return shoe + limb(who.legs, hip, ankle, 76, 62)
  const bare = limb(who.skin, hip, ankle, 62, 48)
  if (who.bottom === "skirt") return bare + shoe
  const knee = [hipX + (footX - hipX) * 0.42, 270] as const
  return bare + shoe + limb(who.legs, hip, knee, 84, 88)
}

const hips = (body: Body): string => {
  const { waist, who } = body
  if (who.bottom === "coat") return ""
  if (who.bottom === "skirt") {
    const flare = waist * 1.28 + Math.abs(body.stride) * (body.view === "side" ? 0.3 : 0)
    return polygon(who.legs, -waist, HIP + 10, waist, HIP + 10, flare, 245, -flare, 245)
  }
  const outer = body.view === "side" ? waist * 0.85 : 83
  return polygon(who.legs, -waist, HIP + 10, waist, HIP + 10, outer, 400, -outer, 400)
}

const hand = (body: Body, side: number): readonly [number, number] =>
  body.view === "side"
    ? [-side * body.stride * 0.9, 435 + Math.abs(body.stride) * 0.15]
    : [side * (body.shoulder + 34 + Math.abs(body.stride) * 0.3), 435]

const arm = (body: Body, side: number): string => {
  const { who, view } = body
  const from = [view === "side" ? 0 : side * (body.shoulder + 8), SHOULDER - 12] as const
  const to = hand(body, side)
  const elbow = [from[0] + (to[0] - from[0]) * 0.45, from[1] + (to[1] - from[1]) * 0.45] as const
  const skin = limb(who.skin, elbow, to, 44, 38) + ellipse(who.skin, to[0], to[1] - 8, 25, 28)
  return who.sleeve === "long" ? skin + limb(who.top, from, to, 58, 46) : skin + limb(who.top, from, elbow, 60, 60)
}

const pattern = (body: Body): string => {
  const { hem, view, who } = body
  switch (who.pattern) {
    case "plain":
      return ""
    case "horizontal": {
      let bands = ""
      for (let high = SHOULDER - 45; high - 45 > hem; high -= 90) bands += patch(body, high, high - 45, -1, 1)
      return bands
    }
    case "vertical":
      return (view === "side" ? [-0.55, 0.4] : [-0.75, -0.25, 0.25, 0.75])
        .map((at) => patch(body, SHOULDER, hem, at - 0.1, at + 0.1))
        .join("")
    case "two-tone":
      return patch(body, 620, hem, -1, 1)
    case "logo":
      return view === "front" ? logo(who) : ""
    case "open-jacket":
      if (view === "back") return ""
      return view === "front" ? patch(body, SHOULDER, hem, -0.42, 0.42) : patch(body, SHOULDER, hem, 0.1, 0.8)
  }
}

const logo = (who: Identity): string => {
  switch (who.logo) {
    case "circle":
      return ellipse(who.second, 0, 690, 52, 52)
    case "triangle":
      return polygon(who.second, 0, 750, 56, 645, -56, 645)
    case "bar":
      return box(who.second, -66, 668, 132, 52)
  }
}

/** The part of a bag that the body hides or carries; `behind` is drawn before the top, the rest after it. */
const bag = (body: Body): { readonly behind: string; readonly before: string } => {
  const { bagColour, bag } = body.who
  const { bagSide, shoulder, view } = body
  const side = view === "side"
  switch (bag) {
    case "none":
    case "hand":
      return { behind: "", before: "" }
    case "backpack": {
      if (side) return { behind: box(bagColour, -shoulder - 72, 545, 100, 235, 24), before: "" }
      if (view === "back") return { behind: "", before: box(bagColour, -88, 535, 176, 255, 30) }
      return { behind: "", before: box(bagColour, -78, 590, 22, 225) + box(bagColour, 56, 590, 22, 225) }
    }
    case "shoulder": {
      const hipX = side ? 20 : -bagSide * (shoulder * 0.85)
      const strapX = side ? -10 : bagSide * shoulder * 0.6
      const strap = limb(bagColour, [strapX, SHOULDER], [hipX, 500], 26)
      return { behind: "", before: strap + box(bagColour, hipX - 54, 395, 108, 115, 12) }
    }
  }
}

const handBag = (body: Body): string => {
  if (body.who.bag !== "hand") return ""
  const [x, y] = hand(body, body.bagSide)
  return box(body.who.bagColour, x - 52, y - 112, 104, 108, 10)
}

const hair = (body: Body): string => {
  const { view, who } = body
  const { radiusX, radiusY, y } = HEAD
  const side = view === "side"
  const crown = dome(who.hair, 0, y + 10, radiusX + 4, radiusY - 6)
  // From the side the face is the lower front of the head.
  const face = side ? ellipse(who.skin, 26, y - 22, 44, 54) : ellipse(who.skin, 0, y - 12, radiusX - 16, radiusY - 16)
  const whole = ellipse(who.hair, 0, y, radiusX + 3, radiusY + 3)
  switch (who.hairStyle) {
    case "bald":
      return ""
    case "long": {
      const fall = side ? box(who.hair, -84, 745, 120, 180, 30) : box(who.hair, -82, 745, 164, 190, 36)
      return view === "back" ? whole + fall : whole + fall + face + crown
    }
    case "bun": {
      const bun = side ? ellipse(who.hair, -52, y + 66, 38, 36) : ellipse(who.hair, 0, y + 84, 40, 34)
      return view === "back" ? bun + whole : side ? bun + whole + face + crown : bun + crown
    }
    case "short":
      return view === "back" ? whole : side ? whole + face + crown : crown
  }
}

const hat = (body: Body): string => {
  const { view, who } = body
  const { radiusX, radiusY, y } = HEAD
  switch (who.hat) {
    case "none":
      return ""
    case "cap": {
      const crown = dome(who.hatColour, 0, y + 18, radiusX + 9, radiusY - 8)
      if (view === "back") return crown
      return (
        crown +
        (view === "side" ? box(who.hatColour, 30, y + 12, 106, 22, 8) : box(who.hatColour, -78, y + 2, 156, 24, 10))
      )
    }
    case "beanie":
      return (
        dome(who.hatColour, 0, y + 8, radiusX + 8, radiusY + 10) +
        box(who.hatColour, -radiusX - 8, y - 10, 2 * radiusX + 16, 26)
      )
  }
}

const head = (body: Body): string =>
  box(body.who.skin, -28, SHOULDER - 10, 56, 60) +
  ellipse(body.who.skin, 0, HEAD.y, HEAD.radiusX, HEAD.radiusY) +
  hair(body) +
  hat(body)

/** The SVG of a person as seen in one image, for a canvas of 128 × 256. */
export const figure = (who: Identity, pose: Pose): string => {
  const body = bodyOf(who, pose)
  const carried = bag(body)
  const top = patch(body, SHOULDER, body.hem, -1, 1, who.top) + pattern(body)
  const far = arm(body, -1)
  const near = arm(body, 1)
  const parts =
    pose.view === "side"
      ? [far, leg(body, -1), leg(body, 1), hips(body), carried.behind, top, carried.before, near]
      : [leg(body, -1), leg(body, 1), hips(body), far, near, carried.behind, top, carried.before]
  // One thousandth of the person's height in pixels, y turned to point up.
  const unit = (CANVAS.height * TALL * who.height * pose.scale) / 1000
  const x = CANVAS.width * (0.5 + pose.offsetX)
  const ground = CANVAS.height * (GROUND + pose.offsetY)
  const across = pose.mirrored ? -unit : unit
  const place = [across, 0, 0, -unit, x, ground].map((value) => value.toFixed(4)).join(" ")
  return `<g transform="matrix(${place})">${parts.join("")}${handBag(body)}${head(body)}</g>`
}
