/**
 * The networks of a run (students and mean teachers) and their optimizer, held in an engine session: made from seeds or
 * read from a `checkpoint` artifact, written back as one.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import type { RecordBatch } from "apache-arrow"
import { Context, Effect, Layer, Schema } from "effect"
import { Session, type SessionShape } from "#engine/session.ts"
import { type Adam, type AdamSettings, makeAdam } from "#model/adam.ts"
import { ModelConfig } from "#model/config.ts"
import { initialTensors } from "#model/initial.ts"
import { type HostTensor, makeNetwork, type Network, networkTensors } from "#model/network.ts"
import type { Trainer } from "#model/trainer.ts"
import { batchOf, metadataOf, type View, viewOf } from "#schemas/artifact.ts"
import { checkpoint, optimizerTensor } from "#schemas/checkpoint.ts"

/** A checkpoint does not hold the networks that it should: each missing, unknown or mis-shaped tensor is listed. */
export class CheckpointInvalid extends Schema.TaggedError<CheckpointInvalid>()("CheckpointInvalid", {
  source: Schema.String,
  problems: Schema.Array(Schema.String)
}) {
  override get message() {
    return `${this.source}: not a checkpoint of these networks: ${this.problems.join("; ")}`
  }
}

/** A network that a stage needs is neither in its checkpoint nor in the session. */
export class NetworkMissing extends Schema.TaggedError<NetworkMissing>()("NetworkMissing", {
  network: Schema.String,
  present: Schema.Array(Schema.String)
}) {
  override get message() {
    const present = this.present.length > 0 ? this.present.join(", ") : "none"
    return `network "${this.network}" is not there (present: ${present}); give a checkpoint that holds it`
  }
}

export interface NetworksShape {
  readonly session: SessionShape
  readonly get: (name: string) => Effect.Effect<Network, NetworkMissing>
  readonly has: (name: string) => boolean
  readonly names: () => ReadonlyArray<string>
  /**
   * Replaces all networks by those of a checkpoint's record batches; the optimizer is theirs or gone. Where it holds all networks of
   * `only`, it is these alone.
   */
  readonly load: (
    batches: ReadonlyArray<RecordBatch>,
    source: string,
    only?: ReadonlyArray<string>
  ) => Effect.Effect<void, CheckpointInvalid>
  /** Frees all networks and their optimizer. */
  readonly discard: () => void
  /** A network with weights drawn from a seed, but for those that are given. */
  readonly create: (
    name: string,
    config: ModelConfig,
    classes: number,
    seed: number,
    given?: ReadonlyMap<string, HostTensor>
  ) => Network
  /** A network with the weights and statistics of another. */
  readonly copy: (from: Network, name: string) => Network
  /** An optimizer over the parameters of these networks, fresh or with the state of the checkpoint that was loaded. */
  readonly optimizer: (networks: ReadonlyArray<Network>, settings: AdamSettings, fresh: boolean) => Adam
  /** Who trains the networks now; what it holds is brought back before they are used otherwise. */
  trainer: Trainer | undefined
  /** Updates of the mean teachers so far, over the whole adaptation. */
  teacherStep: number
  /** Those of them that were done since the epoch began. */
  readonly teacherUpdates: Array<TeacherUpdate>
  /** What comes before each step's forward passes, once the trainer is there: the teachers' update, where they move first. */
  beforeStep: (trainer: Trainer) => void
  /** All networks as one record batch, with the optimizer's state where it is to go on. */
  readonly save: (options: { readonly optimizer: boolean }) => RecordBatch
}

/** An update of the mean teachers: its number, its α, and the weighted sums of the students' parameters. */
export interface TeacherUpdate {
  readonly update: number
  readonly alpha: number
  readonly sums: Float32Array
}

type Tensors = Map<string, HostTensor>

const decodeValues = (dtype: string, bytes: Uint8Array): HostTensor["values"] | undefined => {
  const own = bytes.slice().buffer
  if (dtype === "float32" && bytes.length % 4 === 0) return new Float32Array(own)
  if (dtype === "int64" && bytes.length % 8 === 0) return Float64Array.from(new BigInt64Array(own), Number)
  return undefined
}

const encodeValues = ({ values }: HostTensor): readonly [dtype: string, bytes: Uint8Array] =>
  values instanceof Float32Array
    ? ["float32", new Uint8Array(values.buffer, values.byteOffset, values.byteLength)]
    : ["int64", new Uint8Array(BigInt64Array.from(values, BigInt).buffer)]

/** The tensors of each network in a checkpoint's rows; problems are added to the list. */
const tensorsByNetwork = (views: ReadonlyArray<View<typeof checkpoint.columns>>, problems: Array<string>) => {
  const networks = new Map<string, Tensors>()
  for (const view of views)
    for (const [row, network] of view.network.entries()) {
      const label = `${network} ${view.name[row]}`
      const shape = view.shape[row]!
      const values = decodeValues(view.dtype[row]!, view.data[row]!)
      if (values === undefined) problems.push(`${label}: dtype ${view.dtype[row]}, ${view.data[row]!.length} bytes`)
      else if (values.length !== shape.reduce((a, b) => a * b, 1))
        problems.push(`${label}: ${values.length} values for shape [${shape}]`)
      else {
        const tensors: Tensors = networks.get(network) ?? new Map()
        if (tensors.has(view.name[row]!)) problems.push(`${label}: twice`)
        networks.set(network, tensors.set(view.name[row]!, { shape, values }))
      }
    }
  return networks
}

/** Of each network the optimizer's state alone. */
const momentsIn = (networks: ReadonlyMap<string, Tensors>) =>
  new Map(
    [...networks].map(
      ([name, tensors]) => [name, new Map([...tensors].filter(([key]) => optimizerTensor.test(key)))] as const
    )
  )

const tensorProblems = (network: string, config: ModelConfig, tensors: Tensors): ReadonlyArray<string> => {
  const classes = tensors.get("classifier.weight")?.shape[0]
  if (classes === undefined) return [`${network} classifier.weight: missing`]
  const specs = new Map(networkTensors(config, classes).map((spec) => [spec.name, spec]))
  const missing = [...specs.keys()].filter((name) => !tensors.has(name)).map((name) => `${network} ${name}: missing`)
  const wrong = [...tensors].flatMap(([name, { shape }]) => {
    const expected = specs.get(optimizerTensor.exec(name)?.[2] ?? name)?.shape
    if (expected === undefined) return [`${network} ${name}: unknown`]
    return String(expected) === String(shape) ? [] : [`${network} ${name}: shape [${shape}], expected [${expected}]`]
  })
  return [...missing, ...wrong]
}

export class Networks extends Context.Service<Networks, NetworksShape>()("mmt/model/Networks") {
  static readonly layer: Layer.Layer<Networks, never, Session> = Layer.effect(
    Networks,
    Effect.map(Session, (session) => makeNetworks(session))
  )
}

const makeNetworks = (session: SessionShape): NetworksShape => {
  const networks = new Map<string, Network>()
  let adam: { readonly state: Adam; readonly owners: ReadonlyArray<Network> } | undefined
  let savedMoments: { readonly step: number; readonly of: Map<string, Tensors> } | undefined

  const add = (name: string, config: ModelConfig, tensors: ReadonlyMap<string, HostTensor>) => {
    session.free(`${name}/`)
    const network = makeNetwork(session, name, config, tensors)
    networks.set(name, network)
    return network
  }

  const load: NetworksShape["load"] = Effect.fn("Networks.load")(function* (batches, source, only) {
    const problems: Array<string> = []
    if (batches.length === 0) return yield* new CheckpointInvalid({ source, problems: ["it has no rows"] })
    const metadata = yield* Effect.forEach(batches, (batch) =>
      Effect.fromResult(metadataOf(checkpoint, batch, source)).pipe(Effect.orDie)
    )
    const config = yield* Schema.decodeUnknownEffect(Schema.fromJsonString(ModelConfig))(metadata[0]!.model).pipe(
      Effect.mapError((e) => new CheckpointInvalid({ source, problems: [`metadata "model": ${e.message}`] }))
    )
    if (metadata.some(({ model }) => model !== metadata[0]!.model)) problems.push("parts have different models")
    const loaded = tensorsByNetwork(
      batches.map((batch) => viewOf(checkpoint, batch)),
      problems
    )
    for (const [name, tensors] of loaded) problems.push(...tensorProblems(name, config, tensors))
    if (problems.length > 0) return yield* new CheckpointInvalid({ source, problems })
    shape.discard()
    const wanted = only?.every((name) => loaded.has(name)) ? only : [...loaded.keys()]
    for (const name of new Set(wanted)) add(name, config, loaded.get(name)!)
    savedMoments = { step: metadata[0]!.optimizerStep ?? 0, of: momentsIn(loaded) }
    shape.teacherStep = metadata[0]!.teacherStep ?? 0
  })

  const optimizer: NetworksShape["optimizer"] = (owners, settings, fresh) => {
    const variables = new Map(
      owners.flatMap((n) => [...n.parameters].map(([key, v]) => [`${n.name}/${key}`, v] as const))
    )
    const kept = fresh ? undefined : savedMoments
    const moments = (key: string): readonly [tfjs.Tensor, tfjs.Tensor] | undefined => {
      const [network, name] = [key.slice(0, key.indexOf("/")), key.slice(key.indexOf("/") + 1)]
      const pair = ["m", "v"].map((kind) => kept?.of.get(network)?.get(`adam.${kind}:${name}`))
      if (pair[0] === undefined || pair[1] === undefined) return undefined
      const layer = networks.get(network)!
      return [layer.toEngine(name, pair[0]), layer.toEngine(name, pair[1])]
    }
    const state = makeAdam(session, variables, settings, { step: kept?.step ?? 0, moments })
    adam = { state, owners }
    return state
  }

  const rows = (withOptimizer: boolean) =>
    [...networks.values()].flatMap((network) => {
      const tensors = [...network.read()].map(([name, tensor]) => [network.name, name, tensor] as const)
      if (!withOptimizer || !adam?.owners.includes(network)) return tensors
      const moments = [...network.parameters.keys()].flatMap((name) => {
        const [m, v] = adam!.state.moments(`${network.name}/${name}`)
        const kinds = [
          ["m", m],
          ["v", v]
        ] as const
        return kinds.map(
          ([kind, value]) => [network.name, `adam.${kind}:${name}`, network.toHost(name, value)] as const
        )
      })
      return [...tensors, ...moments]
    })

  const shape: NetworksShape = {
    session,
    names: () => [...networks.keys()],
    has: (name) => networks.has(name),
    get: (name) =>
      Effect.suspend(() => {
        shape.trainer?.settle()
        const network = networks.get(name)
        return network
          ? Effect.succeed(network)
          : Effect.fail(new NetworkMissing({ network: name, present: [...networks.keys()] }))
      }),
    load,
    discard: () => {
      session.free("")
      networks.clear()
      adam = undefined
      savedMoments = undefined
      shape.trainer = undefined
    },
    create: (name, config, classes, seed, given = new Map()) =>
      add(name, config, new Map([...initialTensors(config, classes, seed), ...given])),
    copy: (from, name) => add(name, from.config, from.read()),
    optimizer,
    trainer: undefined,
    teacherStep: 0,
    teacherUpdates: [],
    beforeStep: () => {},
    save: (options) => {
      const { trainer } = shape
      if (!options.optimizer) trainer?.settle()
      const all = options.optimizer && trainer ? trainer.withMoments(() => rows(true)) : rows(options.optimizer)
      const encoded = all.map(([, , tensor]) => encodeValues(tensor))
      return batchOf(
        checkpoint,
        {
          network: all.map(([network]) => network),
          name: all.map(([, name]) => name),
          dtype: encoded.map(([dtype]) => dtype),
          shape: all.map(([, , tensor]) => tensor.shape),
          data: encoded.map(([, bytes]) => bytes)
        },
        {
          model: JSON.stringify(networks.values().next().value!.config),
          optimizerStep: options.optimizer ? (adam?.state.step() ?? 0) : 0,
          teacherStep: shape.teacherStep
        }
      )
    }
  }
  return shape
}
