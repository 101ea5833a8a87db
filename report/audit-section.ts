/** The outcome of a run's audit: what every check looked at and held, and where it did not. */
import type { Checked } from "#audit/audit.ts"
import { violationPlace } from "#audit/check.ts"
import { type Html, html } from "#report/html.ts"
import type { RunData } from "#report/run-data.ts"

const count = (value: number) => value.toLocaleString("en-US")

const plural = (value: number, one: string) => `${count(value)} ${one}${value === 1 ? "" : "s"}`

const checkRow = ({ about, checked, name, note, unit, violationCount }: Checked) =>
  html`<tr><th scope="row">${name}</th><td class="text ${violationCount === 0 ? "right" : "wrong"}">${
    violationCount === 0 ? "✓ passed" : `✗ ${plural(violationCount, "violation")}`
  }</td><td>${count(checked)} ${unit}</td><td class="text about">${about}${note ? ` (${note})` : ""}</td></tr>`

const violationList = ({ name, violationCount, violations }: Checked): Html => {
  if (violationCount === 0) return html``
  const more = violationCount - violations.length
  return html`<h4>${name}: ${plural(violationCount, "violation")}</h4><ul class="violations">${violations.map(
    (violation) => html`<li><bdi><code>${violationPlace(violation)}</code></bdi>: <bdi>${violation.problem}</bdi></li>`
  )}${more > 0 ? html`<li>… and ${count(more)} more</li>` : ""}</ul>`
}

/** What the last audit found, when it was, and whether the run has changed since; how to make one where there is none. */
export const auditFigure = ({ audit, folder }: RunData): Html => {
  const call = html`<code>mmt audit ${folder}</code>`
  if (audit === undefined) return html`<p>Not audited yet: ${call} reads every byte of the run and checks it.</p>`
  const { checks, finished, mmt, outdated } = audit
  const violations = checks.reduce((sum, { violationCount }) => sum + violationCount, 0)
  const passed = checks.filter(({ violationCount }) => violationCount === 0).length
  return html`<p><b class="${violations === 0 ? "right" : "wrong"}">${passed} of ${plural(checks.length, "check")} passed</b>, ${plural(
    violations,
    "violation"
  )}. Audited ${finished.slice(0, 16).replace("T", " ")} UTC by mmt ${mmt}.${
    outdated ? html` <b class="wrong">The run has changed since</b>: ${call} checks it as it is now.` : ""
  }</p>
<div class="scroll" tabindex="0" role="region" aria-label="Checks of the audit"><table class="audit"><caption class="unseen">Checks of the audit</caption><thead><tr><th scope="col">check</th><th scope="col">outcome</th><th scope="col">looked at</th><th scope="col">what holds where it passes</th></tr></thead><tbody>${checks.map(checkRow)}</tbody></table></div>${checks.map(violationList)}`
}
