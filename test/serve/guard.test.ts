/** Who is answered. */
import { describe, expect, it } from "vitest"
import { refusal } from "#serve/guard.ts"

const asked = (headers: Record<string, string>, method = "GET") => refusal({ method, headers }, 7117)?.status

describe("the guard", () => {
  it("answers to its own names at its own port", () => {
    expect(asked({ host: "127.0.0.1:7117" })).toBeUndefined()
    expect(asked({ host: "localhost:7117" })).toBeUndefined()
  })

  it.each([
    "",
    "evil.example",
    "evil.example:7117",
    "127.0.0.1",
    "127.0.0.1:80",
    "localhost:7118",
    "127.0.0.1:7117.evil.example",
    "LOCALHOST:7117@evil.example",
    "[::1]:7117"
  ])("refuses the host %j", (host) => expect(asked({ host })).toBe(403))

  it("refuses a request without a host", () => expect(asked({})).toBe(403))

  it.each(["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])("refuses %s", (method) =>
    expect(asked({ host: "127.0.0.1:7117" }, method)).toBe(405)
  )

  it("reads for HEAD as for GET", () => expect(asked({ host: "127.0.0.1:7117" }, "HEAD")).toBeUndefined())

  it("refuses what another site's page asks for, but not a link that leads here", () => {
    const host = "127.0.0.1:7117"
    for (const site of ["cross-site", "same-site"]) {
      expect(asked({ host, "sec-fetch-site": site, "sec-fetch-mode": "no-cors" })).toBe(403)
      expect(asked({ host, "sec-fetch-site": site, "sec-fetch-mode": "navigate" })).toBeUndefined()
    }
    expect(asked({ host, "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors" })).toBeUndefined()
    expect(asked({ host, "sec-fetch-site": "none", "sec-fetch-mode": "navigate" })).toBeUndefined()
  })
})
