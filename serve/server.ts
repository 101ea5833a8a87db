/** The server of live pages: on this machine alone, for reading alone. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Effect, RcMap, Schema, type Scope, Stream, SubscriptionRef } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { Html } from "#report/html.ts"
import { Figures } from "#serve/figures.ts"
import { guardHeaders, refusal } from "#serve/guard.ts"
import { listPage, livePolicy, problemPage, runPage } from "#serve/pages.ts"
import { changeEvents, type LivePage, livePage } from "#serve/parts.ts"
import { isRun, type NoFolder, runFolders } from "#serve/run-folders.ts"
import { runListWatcher, runPath } from "#serve/run-list.ts"
import { partsOf, runWatcher, type SeenRun } from "#serve/run-page.ts"

const localhost = "127.0.0.1"

/** The server cannot listen. */
export class PortTaken extends Schema.TaggedError<PortTaken>()("PortTaken", {
  port: Schema.Int,
  problem: Schema.String
}) {
  override get message() {
    return `port ${this.port} cannot be had (${this.problem}); --port 0 takes any that is free`
  }
}

/** How often a run or the list of runs is looked at, while a page shows it. */
const everyMillis = 2000

/** So long a run is known on after its last page is gone, for one that is loaded again. */
const idle = "15 seconds"

/** Tells versions of this server from those of one before it at the same port. */
const born = Date.now().toString(36)

/** The version that a page has, as it says itself or as its browser does when it asks again; 0 of another server. */
const versionOf = (request: HttpServerRequest.HttpServerRequest) => {
  const said = request.headers["last-event-id"] ?? new URL(request.url, "http://localhost").searchParams.get("since")
  const [server, version] = (said ?? "").split("-")
  return server === born && /^\d+$/.test(version ?? "") ? Number(version) : 0
}

const htmlAnswer = (text: string, status = 200) =>
  HttpServerResponse.text(text, { status, contentType: "text/html; charset=utf-8" }).pipe(
    HttpServerResponse.setHeader("content-security-policy", livePolicy)
  )

const notHere = (problem: string) => htmlAnswer(problemPage(problem), 404)

/** Pages that are open now. */
export interface OpenPages {
  count: number
}

/** A run that is looked at while somebody has its page open. */
const watchedRun = Effect.fnUntraced(function* (folder: string) {
  let seen: SeenRun | undefined
  const render = Effect.map(runWatcher(folder), (now) => {
    seen = now
    return partsOf(now)
  })
  const page = yield* livePage(render, everyMillis)
  return { page, seen: () => seen! }
})

/** There is no page at an address. */
class NotHere extends Schema.TaggedError<NotHere>()("NotHere", { problem: Schema.String }) {
  override get message() {
    return this.problem
  }
}

/** An answer that says what is not there. */
const orNotHere = <R>(answer: Effect.Effect<HttpServerResponse.HttpServerResponse, NotHere | NoFolder, R>) =>
  Effect.catch(answer, ({ message }) => Effect.succeed(notHere(message)))

/** Whoever is not allowed is refused before anything else; every answer has the headers that guard it. */
const guarded = <E, R>(answer: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>, port: number) =>
  Effect.gen(function* () {
    const { headers, method } = yield* HttpServerRequest.HttpServerRequest
    const refused = refusal({ method, headers }, port)
    const response = refused
      ? HttpServerResponse.text(`${refused.problem}\n`, { status: refused.status })
      : yield* Effect.orElseSucceed(answer, () => notHere("There is no such page."))
    return HttpServerResponse.setHeaders(response, guardHeaders)
  })

const addRoutes = Effect.fnUntraced(function* (router: HttpRouter.HttpRouter, root: string, pages: OpenPages) {
  const figures = yield* Figures
  const watched = yield* RcMap.make({ lookup: watchedRun, idleTimeToLive: idle })
  const list = yield* RcMap.make({
    lookup: (_: "list") => livePage(runListWatcher(root), everyMillis),
    idleTimeToLive: idle
  })

  /** The folder of the run that is asked for, of those that are there; else the answer that it is not. */
  const asked = Effect.gen(function* () {
    const { run: id = "" } = yield* HttpRouter.params
    const found = (yield* runFolders(root)).find((run) => run.id === id)
    return found ?? (yield* new NotHere({ problem: `There is no run ${id} here.` }))
  })

  /** The changes of a page for as long as somebody has it open. */
  const events = (
    page: Effect.Effect<SubscriptionRef.SubscriptionRef<LivePage>, never, Scope.Scope>,
    request: HttpServerRequest.HttpServerRequest
  ) => {
    const opened = Effect.acquireRelease(
      Effect.sync(() => pages.count++),
      () => Effect.sync(() => pages.count--)
    )
    const changes = Effect.map(Effect.andThen(opened, page), (live) => changeEvents(live, versionOf(request), born))
    return HttpServerResponse.stream(Stream.encodeText(Stream.unwrap(changes)), {
      contentType: "text/event-stream"
    })
  }

  const listRoute = Effect.gen(function* () {
    const { parts, version } = yield* SubscriptionRef.get(yield* RcMap.get(list, "list"))
    return htmlAnswer(listPage(new Html(parts[0]!.text), `${born}-${version}`))
  })
  const runRoute = Effect.gen(function* () {
    const run = yield* asked
    const { page, seen } = yield* RcMap.get(watched, run.folder)
    const { version } = yield* SubscriptionRef.get(page)
    return htmlAnswer(runPage(run.id, seen(), `${born}-${version}`))
  })
  const figureRoute = Effect.gen(function* () {
    const { folder } = yield* asked
    const { figure } = yield* HttpRouter.params
    if (figure !== "map" && figure !== "rankings") return yield* new NotHere({ problem: "There is no such figure." })
    const { seen } = yield* RcMap.get(watched, folder)
    const { edition, problem } = seen()
    // What a page refuses to read is not read for a figure either.
    if (problem !== undefined) return HttpServerResponse.text(problem, { status: 409 })
    return yield* figures.draw({ folder, figure }, edition).pipe(
      Effect.map((text) => htmlAnswer(text)),
      Effect.catch(({ message }) => Effect.succeed(HttpServerResponse.text(message, { status: 409 })))
    )
  })

  yield* router.add("GET", "/", Effect.scoped(listRoute))
  yield* router.add("GET", "/events", (request) => Effect.succeed(events(RcMap.get(list, "list"), request)))
  yield* router.add("GET", "/runs/:run", orNotHere(Effect.scoped(runRoute)))
  yield* router.add("GET", "/runs/:run/events", (request) =>
    orNotHere(
      Effect.map(asked, ({ folder }) => {
        const page = Effect.map(RcMap.get(watched, folder), (run) => run.page)
        return events(page, request)
      })
    )
  )
  yield* router.add("GET", "/runs/:run/figures/:figure", orNotHere(Effect.scoped(figureRoute)))
})

/**
 * Serves the runs of a folder, or one run, on 127.0.0.1 until the scope closes; port 0 takes one that is free. Gives the URL. Fails
 * where the folder is not there or the port is taken.
 */
export const serveRuns = Effect.fn("serveRuns")(function* (
  root: string,
  port: number,
  pages: OpenPages = { count: 0 }
) {
  const found = yield* runFolders(root)
  const server = createServer()
  // A stream of events ends when its page goes; those that are open would hold up the end.
  yield* Effect.addFinalizer(() => Effect.sync(() => server.closeAllConnections()))
  const http = yield* NodeHttpServer.make(() => server, { host: localhost, port, gracefulShutdownTimeout: 0 }).pipe(
    Effect.mapError(
      ({ cause }) => new PortTaken({ port, problem: (cause as NodeJS.ErrnoException).code ?? String(cause) })
    )
  )
  const { port: bound } = server.address() as AddressInfo
  const router = yield* HttpRouter.make.pipe(Effect.provideService(HttpRouter.RouterConfig, { maxParamLength: 4096 }))
  yield* addRoutes(router, root, pages)
  yield* http.serve(guarded(router.asHttpEffect(), bound))
  const alone = found.length === 1 && (yield* isRun(root)) ? runPath(found[0]!.id) : "/"
  return `http://${localhost}:${bound}${alone}`
}, Effect.provide(Figures.layer))
