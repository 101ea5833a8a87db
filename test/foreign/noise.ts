/** An image of pseudo-random RGB bytes, which the scripts here draw as well. */
export const noise = (height: number, width: number) => {
  let state = height * 1000 + width
  return Uint8Array.from({ length: height * width * 3 }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state >>> 24
  })
}
