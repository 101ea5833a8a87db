/**
 * The tap of a run: of chosen iterations it keeps the batches that augment made, and the networks after the
 * step and after the mean teachers' update. It only looks: no other byte of the run depends on it.
 */
import { join } from "node:path"
import type { RecordBatch } from "apache-arrow"
import { Effect, Result, Scope, Stream } from "effect"
import { Networks } from "#model/networks.ts"
import { openArrowFile, type WriteFailed, type WrittenFile } from "#pipeline/arrow-file.ts"
import type { Audit } from "#pipeline/run-keys.ts"
import { type Artifact, batchOf, metadataOf, viewOf } from "#schemas/artifact.ts"
import { batches } from "#schemas/batches.ts"
import { checkpoint } from "#schemas/checkpoint.ts"
import { trainMetrics } from "#schemas/train-metrics.ts"

/** What was kept of one kind, as the manifest records it. */
export interface Tapped {
  readonly artifact: string
  readonly columns: Readonly<Record<string, string>>
  readonly files: ReadonlyArray<WrittenFile>
}

/** An Arrow file that is there only if something is written to it. */
const tapFile = (artifact: Artifact, file: string) =>
  Effect.map(Effect.scope, (scope) => {
    let open: Effect.Success<ReturnType<typeof openArrowFile>> | undefined
    let columns: Record<string, string> = {}
    return {
      write: (batch: RecordBatch) =>
        Effect.gen(function* () {
          open ??= yield* Scope.provide(openArrowFile(file), scope)
          columns = Object.fromEntries(batch.schema.fields.map(({ name, type }) => [name, String(type)]))
          yield* open.write(batch)
        }),
      finish: Effect.suspend(() =>
        open
          ? Effect.map(open.finish(), (written): Tapped => ({ artifact: artifact.name, columns, files: [written] }))
          : Effect.undefined
      )
    }
  })

/** The networks of a checkpoint that are wanted, with the iteration and the moment that they are of. */
const networksAt = (all: RecordBatch, iteration: number, moment: string, wanted: (network: string) => boolean) => {
  const view = viewOf(checkpoint, all)
  const rows = [...view.network.keys()].filter((row) => wanted(view.network[row]!))
  const pick = <A>(column: ReadonlyArray<A>) => rows.map((row) => column[row]!)
  return batchOf(
    checkpoint,
    {
      network: pick(view.network),
      name: pick(view.name),
      dtype: pick(view.dtype),
      shape: pick(view.shape),
      data: pick(view.data)
    },
    Result.getOrThrow(metadataOf(checkpoint, all, "tap")),
    { perBatch: { iteration: String(iteration), moment } }
  )
}

type Streams<E, R> = Readonly<Record<string, Stream.Stream<RecordBatch, E, R>>>

/** A tap on the stages of one task, which writes below the task's folder. */
export const openTap = ({ tap, every }: Audit, folder: string) =>
  Effect.gen(function* () {
    const isChosen = (iteration: number) => iteration % every === 0
    const files = {
      batches: yield* tapFile(batches, join(folder, "tap/batches.arrow")),
      networks: yield* tapFile(checkpoint, join(folder, "tap/networks.arrow"))
    }
    const keepBatch = (batch: RecordBatch) => {
      const { iteration } = Result.getOrThrow(metadataOf(batches, batch, "augment"))
      return isChosen(iteration) ? files.batches.write(batch) : Effect.void
    }
    const keepNetworks = (moment: string, wanted: (network: string) => boolean) => (row: RecordBatch) =>
      Effect.gen(function* () {
        const iteration = viewOf(trainMetrics, row).iteration[0]!
        if (!isChosen(iteration)) return
        const networks = yield* Networks
        yield* files.networks.write(networksAt(networks.save({ optimizer: false }), iteration, moment, wanted))
      })
    const tappedPort = <E, R, F, S>(
      outlets: Streams<E, R>,
      port: string,
      keep: (batch: RecordBatch) => Effect.Effect<void, F, S>
    ): Streams<E | F, R | S> => ({
      ...outlets,
      [port]: outlets[port]!.pipe(Stream.rechunk(1), Stream.tap(keep))
    })
    return {
      /** The same outlets; what is chosen of them is kept as it passes. */
      on: <E, R>(stage: string, outlets: Streams<E, R>): Streams<E | WriteFailed, R | Networks> => {
        if (stage === "augment" && tap.includes("augment")) return tappedPort(outlets, "batches", keepBatch)
        if (!tap.includes("train-step")) return outlets
        const keep = { "train-step": ["after-step", () => true], "ema-update": ["after-update", isTeacher] } as const
        const [moment, wanted] = keep[stage as keyof typeof keep] ?? []
        return moment ? tappedPort(outlets, "train-metrics", keepNetworks(moment, wanted)) : outlets
      },
      /** Closes the files; what they are, by kind. */
      finish: Effect.gen(function* () {
        const kept: Record<string, Tapped> = {}
        for (const [kind, file] of Object.entries(files)) {
          const tapped = yield* file.finish
          if (tapped) kept[kind] = tapped
        }
        return kept
      })
    }
  })

const isTeacher = (network: string) => network.startsWith("teacher")
