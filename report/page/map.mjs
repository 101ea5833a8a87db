// @ts-check
/** In the page: colours and filters the points of a map, and shows the image that is pointed at. */

const paletteSize = 7
const greyed = "var(--reference)"

/** @param {HTMLElement} figure */
const explorable = (figure) => {
  const points = JSON.parse(figure.querySelector(".points[type]")?.textContent ?? "{}")
  const svg = /** @type {SVGSVGElement} */ (figure.querySelector("svg"))
  const circles = /** @type {SVGCircleElement[]} */ ([...svg.querySelectorAll("circle")])
  const detail = /** @type {HTMLElement} */ (figure.querySelector(".detail"))
  const field = /** @type {HTMLElement} */ (figure.querySelector(".plot"))
  const count = /** @type {HTMLElement} */ (figure.querySelector(".count"))
  const colour = /** @type {HTMLSelectElement} */ (figure.querySelector("[name=colour]"))
  const camera = /** @type {HTMLSelectElement} */ (figure.querySelector("[name=camera]"))
  const size = svg.viewBox.baseVal
  const places = circles.map((circle) => [circle.cx.baseVal.value, circle.cy.baseVal.value])
  const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle")
  ring.setAttribute("r", "7")
  ring.classList.add("ring")
  let current = -1

  /** @param {number} i */
  const fill = (i) => {
    const value = points[colour.value][i]
    if (value < 0) return greyed
    if (colour.value === "agrees") return value === 1 ? "var(--right)" : "var(--wrong)"
    return `var(--series-${(value * (colour.value === "camera" ? 1 : 3)) % paletteSize})`
  }

  /** @param {number} i */
  const hidden = (i) => camera.value !== "" && points.camera[i] !== Number(camera.value)

  const paint = () => {
    for (const [i, circle] of circles.entries()) {
      circle.setAttribute("fill", fill(i))
      circle.classList.toggle("hidden", hidden(i))
    }
    const left = circles.filter((_, i) => !hidden(i)).length
    count.textContent = `${left} images`
    leave()
  }

  const leave = () => {
    current = -1
    ring.remove()
    svg.classList.remove("picking")
    for (const circle of circles) circle.classList.remove("same")
  }

  /** The group that is shown together: what the points are coloured by, or the cluster. @param {number} i */
  const groupOf = (i) => points[colour.value === "person" ? "person" : "cluster"][i]

  /** @param {number} i */
  const show = (i) => {
    if (i === current) return
    leave()
    current = i
    const [x, y] = places[i]
    ring.setAttribute("cx", String(x))
    ring.setAttribute("cy", String(y))
    svg.append(ring)
    svg.classList.add("picking")
    const group = groupOf(i)
    for (const [j, circle] of circles.entries()) circle.classList.toggle("same", group >= 0 && groupOf(j) === group)
    const { columns, height, perSheet, sheets, width } = points.sheets
    const picture = document.createElement("div")
    const scale = Math.min(4, 160 / height)
    const at = i % perSheet
    const lines = Math.ceil(Math.min(perSheet, circles.length - (i - at)) / columns)
    picture.className = "picture"
    picture.setAttribute("role", "img")
    picture.setAttribute("aria-label", points.image[i])
    Object.assign(picture.style, {
      width: `${width * scale}px`,
      height: `${height * scale}px`,
      backgroundImage: `url(${sheets[Math.floor(i / perSheet)]})`,
      backgroundSize: `${columns * width * scale}px ${lines * height * scale}px`,
      backgroundPosition: `${-(at % columns) * width * scale}px ${-Math.floor(at / columns) * height * scale}px`
    })
    const cluster = points.cluster[i]
    const inCluster = points.cluster.filter((/** @type {number} */ other) => other === cluster).length
    const lineTexts = [
      cluster < 0 ? "no cluster (outlier)" : `cluster ${cluster}: ${inCluster} images here`,
      points.person[i] < 0 ? "identity unknown" : `identity ${points.person[i]}`,
      `camera ${points.camera[i]}`,
      ...(points.agrees[i] === 0 ? ["most of its cluster is someone else"] : [])
    ]
    const name = Object.assign(document.createElement("bdi"), { textContent: points.image[i] })
    const lines2 = lineTexts.map((textContent) => Object.assign(document.createElement("p"), { textContent }))
    detail.replaceChildren(picture, name, ...lines2)
  }

  /** The shown point nearest to a place of the drawing. @param {number} x @param {number} y */
  const nearest = (x, y) => {
    let best = -1
    let least = Number.POSITIVE_INFINITY
    for (const [i, [px, py]] of places.entries()) {
      const distance = (px - x) ** 2 + (py - y) ** 2
      if (distance < least && !hidden(i)) {
        least = distance
        best = i
      }
    }
    return { best, distance: Math.sqrt(least) }
  }

  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect()
    const x = ((event.clientX - box.left) / box.width) * size.width
    const y = ((event.clientY - box.top) / box.height) * size.height
    const { best, distance } = nearest(x, y)
    if (best >= 0 && distance < 14) show(best)
  })
  svg.addEventListener("pointerleave", leave)

  const directions = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }

  /** The nearest shown point that lies in a direction. @param {number[]} direction */
  const next = ([dx, dy]) => {
    const [x, y] = places[current]
    let best = current
    let least = Number.POSITIVE_INFINITY
    for (const [i, [px, py]] of places.entries()) {
      const along = (px - x) * dx + (py - y) * dy
      const across = Math.abs((px - x) * dy) + Math.abs((py - y) * dx)
      if (i === current || hidden(i) || along <= 0 || across > along) continue
      if (along + 2 * across < least) {
        least = along + 2 * across
        best = i
      }
    }
    return best
  }

  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") leave()
    if (!(event.key in directions)) return
    event.preventDefault()
    const direction = directions[/** @type {keyof typeof directions} */ (event.key)]
    const to = current < 0 ? nearest(size.width / 2, size.height / 2).best : next(direction)
    if (to >= 0) show(to)
  })
  colour.addEventListener("change", paint)
  camera.addEventListener("change", paint)
}

/** Begins with each figure of a part of the page, itself among them. @param {Element} part */
const begin = (part) => {
  if (part.matches("figure.map")) explorable(/** @type {HTMLElement} */ (part))
  for (const one of part.querySelectorAll("figure.map")) explorable(/** @type {HTMLElement} */ (one))
}

begin(document.body)
document.addEventListener("part", ({ target }) => begin(/** @type {Element} */ (target)))
