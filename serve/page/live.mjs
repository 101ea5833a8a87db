// @ts-check
/** In the page: puts the parts that the server sends in the place of the old ones, and asks for figures that cost seconds. */

/** Parts that wait until the old one is not read any more. @type {Map<string, string>} */
const waiting = new Map()

/** Whether somebody points at a part or goes through it by keys: it is not taken away then. @param {Element} part */
const isRead = (part) => part.matches(".chart:hover, .chart:focus, :has(.chart:hover, .chart:focus, select:focus)")

/** @param {Element} old @param {Element} now */
const keepOpen = (old, now) => {
  const open = [...old.querySelectorAll("details")].map((details) => details.open)
  for (const [i, details] of [...now.querySelectorAll("details")].entries()) details.open = open[i] ?? false
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
  if (isRead(old)) return waiting.set(id, html)
  waiting.delete(id)
  const now = elementOf(html)
  keepOpen(old, now)
  old.replaceWith(now)
  announce(now)
}

const putWaiting = () => {
  for (const [id, html] of [...waiting]) put(id, html)
}
document.addEventListener("pointerout", putWaiting)
document.addEventListener("focusout", () => setTimeout(putWaiting))

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
