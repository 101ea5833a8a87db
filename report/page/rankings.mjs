// @ts-check
/** In the page: filters the ranking strips by method, standing and camera. */

/** @param {HTMLElement} rankings */
const filtered = (rankings) => {
  /** @param {string} name */
  const select = (name) => /** @type {HTMLSelectElement} */ (rankings.querySelector(`[name=${name}]`))
  const [method, standing, camera] = ["method", "standing", "camera"].map(select)
  const count = /** @type {HTMLElement} */ (rankings.querySelector(".count"))
  const queries = /** @type {HTMLElement[]} */ ([...rankings.querySelectorAll(".query")])

  const apply = () => {
    for (const query of queries) {
      const { dataset } = query
      query.hidden =
        (standing.value !== "" && dataset.standing !== standing.value) ||
        (camera.value !== "" && dataset.camera !== camera.value)
    }
    for (const strip of /** @type {NodeListOf<HTMLElement>} */ (rankings.querySelectorAll(".strip")))
      strip.hidden = method.value !== "" && strip.dataset.method !== method.value
    count.textContent = `${queries.filter(({ hidden }) => !hidden).length} queries`
  }

  for (const one of [method, standing, camera]) one.addEventListener("change", apply)
}

/** Begins with each figure of a part of the page, itself among them. @param {Element} part */
const begin = (part) => {
  if (part.matches(".rankings")) filtered(/** @type {HTMLElement} */ (part))
  for (const one of part.querySelectorAll(".rankings")) filtered(/** @type {HTMLElement} */ (one))
}

begin(document.body)
document.addEventListener("part", ({ target }) => begin(/** @type {Element} */ (target)))
