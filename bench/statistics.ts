/** What is made of the rounds of a comparison: medians, their ratio, and how far the rounds spread. */

/** What a round cost either side: seconds a unit of work, or bytes. */
export interface Round {
  readonly ours: number
  readonly peer: number
}

export interface Summary {
  /** Median cost of our side. */
  readonly ours: number
  /** Median cost of the peer. */
  readonly peer: number
  /** peer / ours: above 1 where we are better. */
  readonly ratio: number
  /** The lowest and the highest ratio of a round. */
  readonly spread: readonly [lowest: number, highest: number]
}

/** The middle value, or the mean of the two in the middle; NaN of none. */
export const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** The ratio is of the medians, not the median of the ratios: one slow round of one side moves neither. */
export const summarise = (rounds: ReadonlyArray<Round>): Summary => {
  const ours = median(rounds.map((round) => round.ours))
  const peer = median(rounds.map((round) => round.peer))
  const ratios = rounds.map((round) => round.peer / round.ours)
  return { ours, peer, ratio: peer / ours, spread: [Math.min(...ratios), Math.max(...ratios)] }
}
