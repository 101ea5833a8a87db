/** Who is answered: a browser on this machine that asks this server by its own name, and for reading alone. */

export interface Asked {
  readonly method: string
  /** By name in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>
}

export interface Refusal {
  readonly status: 403 | 405
  readonly problem: string
}

/**
 * Why a request is refused; undefined where it is not. A page elsewhere whose name leads to this machine (DNS rebinding) has a Host
 * of its own; a page elsewhere that asks for ours says so in Sec-Fetch-Site, and may only lead to it by a link.
 */
export const refusal = ({ method, headers }: Asked, port: number): Refusal | undefined => {
  const { host, "sec-fetch-mode": mode, "sec-fetch-site": site } = headers
  if (host !== `127.0.0.1:${port}` && host !== `localhost:${port}`)
    return { status: 403, problem: "this server answers to 127.0.0.1 and localhost alone" }
  if (site !== undefined && site !== "same-origin" && site !== "none" && mode !== "navigate")
    return { status: 403, problem: "this server does not answer other sites' pages" }
  if (method !== "GET" && method !== "HEAD") return { status: 405, problem: "runs are read, nothing is changed" }
  return undefined
}

/** Headers of every answer, beside its own Content-Security-Policy. */
export const guardHeaders: Readonly<Record<string, string>> = {
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin"
}
