// @ts-check
/** In the page: a chart is read by pointing at it, or by the arrow keys: it shows the nearest row of the table behind it. */

/** @param {HTMLElement} figure */
const readable = (figure) => {
  const places = JSON.parse(figure.querySelector(".places")?.textContent ?? "{}")
  const svg = /** @type {SVGSVGElement} */ (figure.querySelector("svg"))
  const reading = /** @type {HTMLElement} */ (figure.querySelector(".reading"))
  const heads = [...figure.querySelectorAll("thead th")].map((cell) => cell.textContent ?? "")
  const rows = /** @type {HTMLTableRowElement[]} */ ([...figure.querySelectorAll("tbody tr")])
  const line = document.createElementNS("http://www.w3.org/2000/svg", "line")
  line.classList.add("at")
  line.setAttribute("y1", places.top)
  line.setAttribute("y2", places.bottom)
  let current = -1

  const leave = () => {
    current = -1
    line.remove()
    reading.replaceChildren()
    reading.classList.remove("shown")
  }

  /** @param {number} row */
  const show = (row) => {
    if (row === current) return
    current = row
    const x = places.xs[row]
    line.setAttribute("x1", x)
    line.setAttribute("x2", x)
    if (!line.isConnected) svg.append(line)
    const cells = [...rows[row].cells].map((cell) => cell.textContent ?? "")
    const head = document.createElement("b")
    head.textContent = `${heads[0]} ${cells[0]}`
    const entries = cells.slice(1).flatMap((value, i) => {
      if (value === "–") return []
      const entry = document.createElement("span")
      const swatch = document.createElement("i")
      swatch.style.background = places.colours[i]
      entry.append(swatch, `${heads[i + 1]} `, Object.assign(document.createElement("b"), { textContent: value }))
      return [entry]
    })
    reading.replaceChildren(head, ...entries)
    reading.classList.add("shown")
    const right = x > places.width / 2
    reading.style.left = right ? "auto" : `${(100 * (x + 10)) / places.width}%`
    reading.style.right = right ? `${(100 * (places.width - x + 10)) / places.width}%` : "auto"
  }

  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect()
    const x = ((event.clientX - box.left) / box.width) * places.width
    let nearest = 0
    for (const [i, at] of places.xs.entries()) if (Math.abs(at - x) < Math.abs(places.xs[nearest] - x)) nearest = i
    show(nearest)
  })
  svg.addEventListener("pointerleave", leave)
  figure.addEventListener("blur", leave)
  figure.addEventListener("keydown", (event) => {
    if (event.target !== figure) return
    const last = rows.length - 1
    const to = { ArrowRight: Math.min(current + 1, last), ArrowLeft: Math.max(current - 1, 0), Home: 0, End: last }
    if (event.key === "Escape") leave()
    if (!(event.key in to)) return
    event.preventDefault()
    show(to[/** @type {keyof typeof to} */ (event.key)])
  })
}

/** Begins with each figure of a part of the page, itself among them. @param {Element} part */
const begin = (part) => {
  if (part.matches("figure.chart")) readable(/** @type {HTMLElement} */ (part))
  for (const one of part.querySelectorAll("figure.chart")) readable(/** @type {HTMLElement} */ (one))
}

begin(document.body)
document.addEventListener("part", ({ target }) => begin(/** @type {Element} */ (target)))
