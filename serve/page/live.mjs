// @ts-check
/** In the page: puts the parts that the server sends in the place of the old ones, and asks for figures that cost seconds. */

/** Where the pointer is, so that what it points at is read on when it is another. */
const pointer = { x: -1, y: -1 }
document.addEventListener("pointermove", ({ clientX, clientY, isTrusted }) => {
  if (isTrusted) Object.assign(pointer, { x: clientX, y: clientY })
})

/** The nearest element around this one that has an id. @param {Element} element */
const named = (element) => element.closest("[id]")?.id ?? ""

/** What is open of the old part is open in the new one, by the names of what it is in. @param {Element} old @param {Element} now */
const keepOpen = (old, now) => {
  const open = new Set([...old.querySelectorAll("details[open]")].map(named))
  for (const details of now.querySelectorAll("details")) details.open = open.has(named(details))
}

/** @param {Element} part */
const pointAgain = (part) => {
  const target = document.elementFromPoint(pointer.x, pointer.y)
  if (target === null || !part.contains(target)) return
  target.dispatchEvent(new PointerEvent("pointermove", { bubbles: true, clientX: pointer.x, clientY: pointer.y }))
}

/** @param {string} html */
const elementOf = (html) => {
  const template = document.createElement("template")
  template.innerHTML = html
  return /** @type {Element} */ (template.content.firstElementChild)
}

/** @param {Element} part */
const announce = (part) => part.dispatchEvent(new CustomEvent("part", { bubbles: true }))

/** @param {string} id @param {string} html */
const put = (id, html) => {
  const old = document.getElementById(id)
  // A section that was not there when the page was written.
  if (old === null) return location.reload()
  const { activeElement } = document
  const focused = old.contains(activeElement) ? named(/** @type {Element} */ (activeElement)) : ""
  const now = elementOf(html)
  keepOpen(old, now)
  old.replaceWith(now)
  announce(now)
  if (focused !== "") document.getElementById(focused)?.focus({ preventScroll: true })
  pointAgain(now)
}

const connection = document.getElementById("connection")
const { events } = document.getElementById("live")?.dataset ?? {}
if (events !== undefined) {
  const source = new EventSource(events)
  source.addEventListener("part", ({ data }) => {
    const { id, html } = JSON.parse(data)
    put(id, html)
  })
  source.addEventListener("open", () => connection?.toggleAttribute("hidden", true))
  source.addEventListener("error", () => connection?.toggleAttribute("hidden", false))
}

/** Asks for a figure and puts it in its place. @param {HTMLElement} place */
const draw = async (place) => {
  const status = /** @type {HTMLElement} */ (place.querySelector("[role=status]"))
  place.querySelector("button")?.remove()
  status.textContent = "Being drawn …"
  const { edition = "", figure } = place.dataset
  const answer = await fetch(`${location.pathname}/figures/${figure}?edition=${edition}`).catch(() => undefined)
  const html = await answer?.text().catch(() => undefined)
  if (answer?.ok !== true || html === undefined) {
    status.textContent = html ?? "The server does not answer."
    return
  }
  place.innerHTML = html === "" ? "<p class='quiet'>There is nothing for it in the run.</p>" : html
  announce(place)
}

const views = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue
    views.unobserve(target)
    draw(/** @type {HTMLElement} */ (target))
  }
})

/** @param {Element} part */
const offerFigures = (part) => {
  for (const place of /** @type {HTMLElement[]} */ ([part, ...part.querySelectorAll(".asked-for")])) {
    if (!place.matches(".asked-for:has(> [role=status])")) continue
    if (place.dataset.edition !== undefined) views.observe(place)
    else place.querySelector("button")?.addEventListener("click", () => draw(place), { once: true })
  }
}
offerFigures(document.body)
document.addEventListener("part", ({ target }) => offerFigures(/** @type {Element} */ (target)))
