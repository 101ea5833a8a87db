/** Whether both sides compute the same, which is looked at before anything is timed. */
import { Schema } from "effect"
import type { Values } from "./side.ts"

/** Two values agree when they differ by no more than `absolute` + `relative` · the greater magnitude, and are finite. */
export interface Tolerance {
  readonly relative: number
  readonly absolute?: number
}

/** The sides of a case compute different things: `detail` has both values. */
export class Disagreement extends Schema.TaggedError<Disagreement>()("Disagreement", {
  case: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `${this.case}: the two sides do not compute the same, so nothing is timed: ${this.detail}`
  }
}

/** As many values as one wants to read of a list that disagrees. */
const shown = 12

const listed = (values: ReadonlyArray<number>) =>
  values.length > shown ? `${values.slice(0, shown).join(" ")} … (${values.length})` : values.join(" ")

const agree = (a: number, b: number, { relative, absolute = 0 }: Tolerance) =>
  Number.isFinite(a) &&
  Number.isFinite(b) &&
  Math.abs(a - b) <= absolute + relative * Math.max(Math.abs(a), Math.abs(b))

const listDetail = (
  name: string,
  ours: ReadonlyArray<number>,
  peer: ReadonlyArray<number>,
  tolerance: Tolerance
): string | undefined => {
  if (ours.length !== peer.length) return `${name}: ours are ${ours.length} values, the peer's ${peer.length}`
  const apart = ours.flatMap((value, i) => (agree(value, peer[i]!, tolerance) ? [] : [i]))
  if (apart.length === 0) return undefined
  const worst = apart.reduce((a, b) => (Math.abs(ours[b]! - peer[b]!) > Math.abs(ours[a]! - peer[a]!) ? b : a))
  const limit = [`relative ${tolerance.relative}`, ...(tolerance.absolute ? [`absolute ${tolerance.absolute}`] : [])]
  return [
    `${name}: ${apart.length} of ${ours.length} values differ by more than ${limit.join(" + ")}; furthest apart is number ${worst}, ours ${ours[worst]}, the peer's ${peer[worst]}`,
    `  ours: ${listed(ours)}`,
    `  peer: ${listed(peer)}`
  ].join("\n")
}

/** What the sides of a case disagree about; undefined where they agree. Both must have the same lists by name. */
export const disagreement = (
  name: string,
  ours: Values,
  peer: Values,
  tolerance: Tolerance
): Disagreement | undefined => {
  const names = [...new Set([...Object.keys(ours), ...Object.keys(peer)])]
  const details = names.flatMap((list) => {
    const [a, b] = [ours[list], peer[list]]
    if (a === undefined || b === undefined) return [`only ${a === undefined ? "the peer" : "our side"} has ${list}`]
    return listDetail(list, a, b, tolerance) ?? []
  })
  if (names.length === 0) details.push("neither has values to compare")
  return details.length === 0 ? undefined : new Disagreement({ case: name, detail: details.join("\n") })
}
