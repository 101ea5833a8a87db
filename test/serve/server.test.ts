/** The server as a browser and as an attacker meet it: what it shows, what it refuses, and what it sends while a run goes on. */
import { appendFileSync, cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { request } from "node:http"
import { hostname } from "node:os"
import { join } from "node:path"
import { Effect, Exit, Scope } from "effect"
import { parseHTML } from "linkedom"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { serveRuns } from "#serve/server.ts"
import { drawnRuns, pageOf } from "../report/drawn-reports.ts"

const runs = drawnRuns()
const scope = Effect.runSync(Scope.make())
let url: string

const event = (type: string, more: object = {}) =>
  `${JSON.stringify({ time: "2026-01-02T03:04:05.678Z", type, run: "x", task: "train/epoch-001", ...more })}\n`

/** Makes a run look as if this process were at it, at iteration `done`. */
const going = (folder: string, done: number) => {
  writeFileSync(
    join(folder, "lock.0-1.json"),
    JSON.stringify({ pid: process.pid, host: hostname(), started: "", since: "2026-01-02T03:04:05.678Z" })
  )
  writeFileSync(
    join(folder, "progress.json"),
    JSON.stringify({
      ...{ written: Date.now(), run: "going", tasks: { done: 7, total: 30 }, task: "train/epoch-002", phase: "mmt" },
      ...{ taskStarted: Date.now() - 1000, done, total: 400, note: "" },
      step: { losses: { ce1: 1, ce2: 2, total: 2.5 }, learningRate: 0.00035, stepMillis: 90, waitMillis: 10 }
    })
  )
}

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly text: string
}

const ask = (path: string, headers: Record<string, string> = {}, method = "GET") =>
  new Promise<Answer>((resolve, reject) => {
    const { port } = new URL(url)
    const asked = request({ host: "127.0.0.1", port, path, method, headers }, (response) => {
      let text = ""
      response.setEncoding("utf8").on("data", (more: string) => {
        text += more
      })
      response.on("end", () => resolve({ status: response.statusCode!, headers: response.headers, text }))
    })
    asked.on("error", reject).end()
  })

beforeAll(async () => {
  await runs.draw("whole", "whole")
  await runs.draw("going", "whole", { until: (task) => task !== "train/epoch-002" })
  going(join(runs.home, "going"), 17)
  appendFileSync(join(runs.home, "whole/events.jsonl"), event("run-done"))
  for (const [name, last] of [
    ["failed", event("task-failed", { problem: "disk full" })],
    ["stopped", event("task-started")]
  ] as const) {
    mkdirSync(join(runs.home, "nested", name), { recursive: true })
    cpSync(join(runs.home, "whole/run.yaml"), join(runs.home, "nested", name, "run.yaml"))
    writeFileSync(join(runs.home, "nested", name, "events.jsonl"), last)
  }
  url = await Effect.runPromise(serveRuns(runs.home, 0).pipe(Scope.provide(scope)))
})

afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const documentOf = ({ text }: Answer) => parseHTML(text).document as unknown as Document

describe("the list", () => {
  it("has every run with its state, where it is, its scores and when it was heard of", async () => {
    const rows = [...documentOf(await ask("/")).querySelectorAll("#runs tbody tr")].map((row) =>
      [...row.children].map(({ textContent }) => textContent)
    )
    expect(rows.map(([name, state]) => [name, state])).toEqual([
      ["going", "running"],
      ["nested/failed", "failed"],
      ["nested/stopped", "interrupted"],
      ["whole", "done"]
    ])
    expect(rows[0]![2]).toBe("train/epoch-002, 17 of 400; task 8 of 30")
    expect(rows[1]![2]).toBe("train/epoch-001: disk full")
    expect(rows[3]![3]).toMatch(/^source-only [\d.]+ \/ [\d.]+hard, epoch 3 .*mmt, epoch 3 /)
    expect(rows[3]![4]).toBe("2026-01-02 03:04 UTC")
  })
})

describe("the page of a run", () => {
  it("has the report's charts and tables, number for number", async () => {
    const live = documentOf(await ask("/runs/whole"))
    const report = (await pageOf(join(runs.home, "whole"))).document as unknown as Document
    const tables = (document: Document) =>
      [...document.querySelectorAll("main table")].map(({ textContent }) => textContent!.replace(/\s+/g, " "))
    expect(tables(live)).toEqual(tables(report))
    const charts = (document: Document) =>
      [...document.querySelectorAll("figure.chart svg")].map(({ outerHTML }) => outerHTML)
    expect(charts(live)).toEqual(charts(report))
    expect(charts(live).length).toBeGreaterThan(8)
    expect(live.querySelector("#run-file pre")!.textContent).toBe(
      readFileSync(join(runs.home, "whole/run.yaml"), "utf8")
    )
  })

  it("says where a run is that goes on", async () => {
    const now = documentOf(await ask("/runs/going")).querySelector("#now")!
    const entries = [...now.querySelectorAll("dl div")].map((entry) => [...entry.children].map((e) => e.textContent))
    expect(Object.fromEntries(entries)).toEqual({
      iteration: "17 of 400",
      rate: "10/s",
      "left of the task": "38 s",
      identity: "1.5000",
      "total loss": "2.5000",
      "learning rate": "0.00035",
      "a step": "90 ms, waited 10 ms"
    })
  })

  it("gives the map and the rankings when they are asked for", async () => {
    const map = await ask("/runs/whole/figures/map")
    expect(documentOf(map).querySelectorAll("figure.map circle")).toHaveLength(90)
    const report = (await pageOf(join(runs.home, "whole"))).document as unknown as Document
    const rankings = documentOf(await ask("/runs/whole/figures/rankings"))
    const texts = (document: Document) =>
      [...document.querySelectorAll(".rankings .strip")].map((strip) => strip.textContent)
    expect(texts(rankings)).toEqual(texts(report))
  })
})

/** What a page is sent, until `done` says that it has enough. */
const events = (path: string, done: (text: string) => boolean) =>
  new Promise<string>((resolve, reject) => {
    const { port } = new URL(url)
    const asked = request({ host: "127.0.0.1", port, path }, (response) => {
      let text = ""
      response.setEncoding("utf8").on("data", (more: string) => {
        text += more
        if (!done(text)) return
        asked.destroy()
        resolve(text)
      })
    })
    asked.on("error", reject).end()
  })

const idsIn = (text: string) => [...text.matchAll(/data: \{"id":"([^"]+)"/g)].map(([, id]) => id!)

describe("the events of a page", () => {
  it("are what changes after the page was given: progress, and the charts of what is made", async () => {
    const page = documentOf(await ask("/runs/going"))
    const path = (page.querySelector("#live") as HTMLElement).dataset.events!
    const progress = events(path, (text) => idsIn(text).includes("now"))
    going(join(runs.home, "going"), 18)
    expect(idsIn(await progress)).toEqual(["now"])

    const more = events(path, (text) => idsIn(text).includes("loss-mmt"))
    await runs.draw("going", "whole", { until: (task) => task !== "embed/epoch-003/target-train" })
    rmSync(join(runs.home, "going/lock.0-1.json"))
    appendFileSync(join(runs.home, "going/events.jsonl"), event("task-started"))
    const ids = new Set(idsIn(await more))
    expect(ids).toContain("loss-mmt")
    expect(ids).toContain("teacher-distance")
    expect(ids).not.toContain("loss-pretrain")
  })

  it("are all parts for a page of another server, or of none", async () => {
    const text = await events("/runs/whole/events?since=other-9", (sent) => idsIn(sent).includes("run-file-body"))
    expect(idsIn(text)).toEqual(expect.arrayContaining(["now", "scores-body", "training-charts", "map-figure"]))
  })
})

describe("what lies outside", () => {
  const outside = [
    "..",
    "../whole",
    "%2e%2e",
    "..%2f..%2fetc%2fpasswd",
    "whole%2f..%2f..",
    "whole%00",
    "/etc",
    "linked",
    "%2fetc"
  ]

  beforeAll(() => symlinkSync(join(runs.home, "whole"), join(runs.home, "linked")))

  it.each(outside)("is not there: %s", async (name) => {
    for (const path of [`/runs/${name}`, `/runs/${name}/events`, `/runs/${name}/figures/map`, `/${name}`])
      expect((await ask(path)).status).toBe(404)
  })

  it.each([
    [
      "a linked manifest",
      (folder: string) => {
        rmSync(join(folder, "manifest.json"))
        symlinkSync(join(runs.home, "whole/manifest.json"), join(folder, "manifest.json"))
      }
    ],
    [
      "a linked artifact",
      (folder: string) => {
        rmSync(join(folder, "decode"), { recursive: true })
        symlinkSync(join(runs.home, "whole/decode"), join(folder, "decode"))
      }
    ],
    [
      "a manifest that names files elsewhere",
      (folder: string) => {
        const file = join(folder, "manifest.json")
        writeFileSync(file, readFileSync(file, "utf8").replaceAll('"path": "decode', '"path": "../whole/decode'))
      }
    ],
    [
      "a run file that takes in another",
      (folder: string) => writeFileSync(join(folder, "run.yaml"), "extends: /etc/passwd\n")
    ]
  ] as const)("is not read: %s", async (_, spoil) => {
    const folder = join(runs.home, "spoilt")
    rmSync(folder, { recursive: true, force: true })
    cpSync(join(runs.home, "whole"), folder, { recursive: true })
    spoil(folder)
    // Another name each time, since a run is known on for a while.
    const name = `spoilt-${Math.random().toString(36).slice(2)}`
    cpSync(folder, join(runs.home, name), { recursive: true, verbatimSymlinks: true })
    rmSync(folder, { recursive: true })
    const page = await ask(`/runs/${name}`)
    const document = documentOf(page)
    expect(document.querySelector("#problem")!.textContent).toContain("only what lies in it is shown")
    expect(document.querySelector("main section")).toBeNull()
    expect((await ask(`/runs/${name}/figures/map`)).status).toBe(409)
    rmSync(join(runs.home, name), { recursive: true })
  })
})

describe("every answer", () => {
  it("is guarded, also where it is a refusal", async () => {
    for (const [path, headers, status] of [
      ["/", {}, 200],
      ["/none", {}, 404],
      ["/", { host: "evil.example" }, 403],
      ["/runs/whole", { host: "evil.example" }, 403]
    ] as const) {
      const answer = await ask(path, headers)
      expect(answer.status).toBe(status)
      expect(answer.headers).toMatchObject({ "x-content-type-options": "nosniff", "cache-control": "no-store" })
    }
    const policy = String((await ask("/runs/whole")).headers["content-security-policy"])
    expect(policy).toContain("default-src 'none'")
    expect(policy).toContain("connect-src 'self'")
    expect(policy).toContain("frame-ancestors 'none'")
  })

  it("is of reading alone", async () => {
    expect((await ask("/", {}, "POST")).status).toBe(405)
    expect(await ask("/", {}, "HEAD")).toMatchObject({ status: 200, text: "" })
  })
})

describe("the port", () => {
  it("that is taken is said", async () => {
    const taken = Effect.scoped(serveRuns(runs.home, Number(new URL(url).port)))
    await expect(Effect.runPromise(taken)).rejects.toThrow(/port \d+ cannot be had \(EADDRINUSE\); --port 0/)
  })

  it("serves no folder that is not there", async () => {
    const none = Effect.scoped(serveRuns(join(runs.home, "nowhere"), 0))
    await expect(Effect.runPromise(none)).rejects.toThrow(/nowhere: there is no such folder/)
  })
})
