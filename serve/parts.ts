/** A page in parts, of which only those are sent again that have changed. */
import { Effect, Schedule, Stream, SubscriptionRef } from "effect"
import { type Html, html } from "#report/html.ts"

/** An element of the page by its id. */
export interface Part {
  readonly id: string
  /** The whole element, which has this id; with its members in it. */
  readonly html: Html
  /** Elements in it that change by themselves, as long as they are the same ones. */
  readonly members?: ReadonlyArray<Part>
}

/** A part with the version of the page in which it last changed. */
export interface VersionedPart {
  readonly id: string
  readonly text: string
  readonly version: number
  readonly members: ReadonlyArray<VersionedPart>
}

export interface LivePage {
  readonly version: number
  readonly parts: ReadonlyArray<VersionedPart>
}

export interface Change {
  readonly id: string
  readonly html: string
}

const sameIds = (a: ReadonlyArray<{ readonly id: string }>, b: ReadonlyArray<{ readonly id: string }>) =>
  a.length === b.length && a.every(({ id }, i) => id === b[i]!.id)

const versioned = (
  { id, html, members = [] }: Part,
  before: ReadonlyArray<VersionedPart>,
  version: number
): VersionedPart => {
  const was = before.find((one) => one.id === id)
  const inner = members.map((member) => versioned(member, was?.members ?? [], version))
  const { text } = html
  const same = was && (inner.length > 0 ? sameIds(inner, was.members) : was.text === text)
  return { id, text, version: same ? was.version : version, members: inner }
}

const newest = ({ version, members }: VersionedPart): number => Math.max(version, ...members.map(newest))

/** The page with these parts: one version on where any of them is another than before. */
export const advanced = (before: LivePage, parts: ReadonlyArray<Part>): LivePage => {
  const version = before.version + 1
  const now = parts.map((part) => versioned(part, before.parts, version))
  const changed = !sameIds(now, before.parts) || now.some((part) => newest(part) === version)
  return changed ? { version, parts: now } : before
}

/** What has changed since a version: the smallest elements that hold it. */
export const changesSince = (parts: ReadonlyArray<VersionedPart>, since: number): ReadonlyArray<Change> =>
  parts.flatMap(({ id, text, version, members }) =>
    version > since ? [{ id, html: text }] : changesSince(members, since)
  )

/** An element around others that change by themselves. */
export const container = (id: string, className: string, members: ReadonlyArray<Part>): Part => ({
  id,
  html: html`<div id="${id}" class="${className}">${members.map((member) => member.html)}</div>`,
  members
})

/** A page that is made anew at this interval until the scope closes; the first time before this returns. */
export const livePage = Effect.fnUntraced(function* (render: Effect.Effect<ReadonlyArray<Part>>, everyMillis: number) {
  const first = advanced({ version: 0, parts: [] }, yield* render)
  const page = yield* SubscriptionRef.make(first)
  const step = Effect.gen(function* () {
    const before = yield* SubscriptionRef.get(page)
    const now = advanced(before, yield* render)
    if (now !== before) yield* SubscriptionRef.set(page, now)
  })
  yield* Effect.forkScoped(Effect.repeat(Effect.delay(step, everyMillis), Schedule.forever))
  return page
})

/** An event of a stream of server-sent events; what stands on one line stays one. */
export const eventText = (id: string, change: Change): string =>
  `id: ${id}\nevent: part\ndata: ${JSON.stringify(change)}\n\n`

/** The changes of a page since a version, from now on, as server-sent events whose ids are `born` and the version. */
export const changeEvents = (page: SubscriptionRef.SubscriptionRef<LivePage>, since: number, born: string) =>
  SubscriptionRef.changes(page).pipe(
    Stream.mapAccum(
      () => since,
      (sent, { version, parts }) => [
        version,
        [
          changesSince(parts, sent)
            .map((change) => eventText(`${born}-${version}`, change))
            .join("")
        ]
      ]
    ),
    Stream.filter((text) => text !== "")
  )
