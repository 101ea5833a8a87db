/**
 * The contract of a stage: its name and version, the schema of its parameters, the artifacts at its ports, and a `run`
 * from streams of record batches to streams of record batches. It is all that stages know of the pipeline.
 */
import type { RecordBatch } from "apache-arrow"
import { Context, type Effect, Schema, type Scope, type Stream } from "effect"
import type { Artifact, ArtifactError } from "#schemas/artifact.ts"

export interface Port<A extends Artifact = Artifact, Optional extends boolean = boolean> {
  readonly artifact: A
  readonly optional: Optional
  readonly about: string
}

export type Ports = Readonly<Record<string, Port>>

export const port = <A extends Artifact>(artifact: A, about: string): Port<A, false> => ({
  artifact,
  optional: false,
  about
})

export const optionalPort = <A extends Artifact>(artifact: A, about: string): Port<A, true> => ({
  artifact,
  optional: true,
  about
})

/** The stage that makes an inlet's record batches failed while they were drawn; `failure` is its own typed error. */
export class UpstreamFailed extends Schema.TaggedError<UpstreamFailed>()("UpstreamFailed", {
  stage: Schema.String,
  failure: Schema.Defect()
}) {
  override get message() {
    return this.failure instanceof Error ? this.failure.message : String(this.failure)
  }
}

export type InletError = ArtifactError | UpstreamFailed

/** What arrives at an input port. */
export interface Inlet<A extends Artifact = Artifact> {
  readonly artifact: A
  /** What error texts call the data: a file, a folder or the stage that makes it. */
  readonly source: string
  /** Record batches that were checked against the artifact's columns. */
  readonly batches: Stream.Stream<RecordBatch, InletError>
  /** The Arrow files behind the batches, in order, for stages that fetch single rows; none for data in memory. */
  readonly files: ReadonlyArray<string>
}

export type Inlets<In extends Ports> = {
  readonly [K in keyof In]: In[K] extends Port<infer A, infer Optional>
    ? Optional extends true
      ? Inlet<A> | undefined
      : Inlet<A>
    : never
}

/** What leaves: a stream for each output port. They share one computation, so they are to be drained side by side. */
export type Outlets<Out extends Ports> = { readonly [K in keyof Out]: Stream.Stream<RecordBatch, any, any> }

/** `E` and `R` are what starting the stage can fail with and needs; those of its streams are in their own types. */
export interface Stage<Name extends string, P, In extends Ports, Out extends Ports, O extends Outlets<Out>, E, R> {
  readonly name: Name
  /** Counted up whenever the same inputs and parameters would give other bytes. */
  readonly version: number
  readonly summary: string
  readonly params: Schema.Codec<P, any>
  readonly inputs: In
  readonly outputs: Out
  readonly run: (inputs: Inlets<In>, params: P) => Effect.Effect<O, E, R | Scope.Scope>
}

/** Declares a stage; the types of its ports, errors and services are those of its `run`. */
export const stage = <const Name extends string, P, In extends Ports, Out extends Ports, O extends Outlets<Out>, E, R>(
  definition: Stage<Name, P, In, Out, O, E, R>
): Stage<Name, P, In, Out, O, E, R> => definition

export interface Progress {
  readonly done: number
  readonly total: number
  /** Short text beside the bar: loss, rate, share of time waiting. */
  readonly note?: string
}

/** Where a stage tells how far it is; nobody listens by default. */
export const ProgressListener = Context.Reference<(progress: Progress) => void>("mmt/ProgressListener", {
  defaultValue: () => () => {}
})
