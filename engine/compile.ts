/**
 * Compiles steps into one TensorFlow graph: each is traced once and then runs as a single call of a session
 * (`addon/program.cc`), while JavaScript waits or beside it. All steps of a program share its variables, which live in the session.
 */
import type * as tfjs from "@tensorflow/tfjs-node-gpu"
import { Effect, Schema } from "effect"
import { Graph } from "#engine/graph.ts"
import { backendOf, valueless } from "#engine/op.ts"
import { graphSessions, type TensorFlow, type Values } from "#engine/tensorflow.ts"
import { Trace, ValueRead } from "#engine/trace.ts"

/** Shape and type of an input of a step. */
export interface InputSpec {
  readonly shape: ReadonlyArray<number>
  readonly dtype: "float32" | "int32"
}

/** A step: from input tensors to output tensors, by name; it may assign the program's variables. */
export interface StepSpec {
  readonly inputs: Readonly<Record<string, InputSpec>>
  readonly step: (inputs: Readonly<Record<string, tfjs.Tensor>>) => Readonly<Record<string, tfjs.Tensor>>
}

/** A step cannot be a graph: it reads a value or draws a random number while it runs, or TensorFlow refuses the graph. */
export class NotCompilable extends Schema.TaggedError<NotCompilable>()("NotCompilable", {
  step: Schema.String,
  /** The op whose value is read, where that is the reason. */
  op: Schema.optionalKey(Schema.String),
  problem: Schema.String
}) {
  override get message() {
    return `step "${this.step}" cannot be compiled: ${this.problem}`
  }
}

export interface Program<Steps extends string> {
  /** Runs a step on the values of its inputs; gives the values of its outputs. */
  readonly run: (step: Steps, inputs: Readonly<Record<string, Values>>) => Readonly<Record<string, Values>>
  /** The same while JavaScript goes on; until then nothing else may be asked of the program, and the inputs must not change. */
  readonly runBeside: (
    step: Steps,
    inputs: Readonly<Record<string, Values>>
  ) => Promise<Readonly<Record<string, Values>>>
  /** Takes the values of these variables, in the order of those it was compiled with, into the session. */
  readonly load: (variables: ReadonlyArray<tfjs.Variable>) => void
  /** Gives the session's values back to the variables: to all that it was compiled with, or to the first ones of them. */
  readonly store: (variables: ReadonlyArray<tfjs.Variable>) => void
  /** Nodes of the graph. */
  readonly nodes: number
}

/** Names, nodes and shapes of a step's inputs, names and nodes of its outputs. */
interface CompiledStep {
  readonly inputs: ReadonlyArray<string>
  readonly feeds: ReadonlyArray<string>
  readonly shapes: ReadonlyArray<ReadonlyArray<number>>
  readonly outputs: ReadonlyArray<string>
  readonly fetches: ReadonlyArray<string>
}

interface GraphVariable {
  readonly handle: string
  readonly read: string
  readonly feed: string
  readonly assigned: string
  readonly shape: Array<number>
}

/** Nodes of the variables: their handle, their value before a step, and a placeholder that sets them. */
const declareVariables = (graph: Graph, tf: TensorFlow, variables: ReadonlyArray<tfjs.Variable>) => {
  const { binding, getDTypeInteger } = backendOf(tf)
  return variables.map(({ shape, dtype }, index): GraphVariable => {
    const type = { name: "dtype", type: binding.TF_ATTR_TYPE, value: getDTypeInteger.call(backendOf(tf), dtype) }
    const handle = graph.addTyped("VarHandleOp", "dtype", dtype, shape, { shared_name: `v${index}`, container: "" })
    const read = graph.add("ReadVariableOp", [handle], [type])
    const feed = graph.addTyped("Placeholder", "dtype", dtype, shape)
    const assigned = graph.add("AssignVariableOp", [handle, feed], [type])
    return { handle, read, feed, assigned, shape }
  })
}

const traceStep = (
  tf: TensorFlow,
  graph: Graph,
  variables: ReadonlyArray<tfjs.Variable>,
  nodes: ReadonlyArray<GraphVariable>,
  { inputs, step }: StepSpec
): CompiledStep => {
  const backend = backendOf(tf)
  const { binding } = backend
  const typeOf = (name: string, dtype: tfjs.DataType) => ({
    name,
    type: binding.TF_ATTR_TYPE,
    value: backend.getDTypeInteger(dtype)
  })
  const trace = new Trace(tf, graph)
  const feeds = Object.entries(inputs).map(
    ([name, spec]) => [name, graph.addTyped("Placeholder", "dtype", spec.dtype, spec.shape), spec] as const
  )
  const values = variables.map((variable) => tf.keep(tf.clone(variable)))
  try {
    const outputs = trace.run(() => {
      const before = variables.map((variable, index) => {
        const symbol = trace.symbol(nodes[index]!.read, "ReadVariableOp", variable.shape, variable.dtype)
        variable.assign(symbol)
        return symbol.dataId
      })
      const given = Object.fromEntries(
        feeds.map(([name, node, { shape, dtype }]) => [name, trace.symbol(node, `input "${name}"`, shape, dtype)])
      )
      const made = step(given)
      // An assignment comes after the reads of this step, which see the value before it.
      const assignments = variables.flatMap((variable, index) => {
        if (variable.dataId === before[index]) return []
        const { handle, read } = nodes[index]!
        const value = trace.ref(variable)
        return [`^${graph.add("AssignVariableOp", [handle, value, `^${read}`], [typeOf("dtype", variable.dtype)])}`]
      })
      const outputs = Object.entries(made).map(
        ([name, tensor]) =>
          [name, graph.add("Identity", [trace.ref(tensor), ...assignments], [typeOf("T", tensor.dtype)])] as const
      )
      // A step's outputs are its caller's to free, whom nobody calls for a traced one.
      tf.dispose(made)
      return outputs
    })
    return {
      inputs: feeds.map(([name]) => name),
      feeds: feeds.map(([, node]) => node),
      shapes: feeds.map(([, , { shape }]) => shape),
      outputs: outputs.map(([name]) => name),
      fetches: outputs.map(([, node]) => node)
    }
  } finally {
    for (const [index, variable] of variables.entries()) variable.assign(values[index]!)
    tf.dispose(values)
  }
}

const assign = (variable: tfjs.Variable, value: tfjs.Tensor) => {
  variable.assign(value)
  value.dispose()
}

/** Frees the values of variables that a program's session holds as well; until `store` gives them back nothing may read them. */
export const release = (tf: TensorFlow, variables: ReadonlyArray<tfjs.Variable>): void => {
  for (const variable of variables) assign(variable, valueless(tf, variable.shape, variable.dtype))
}

/** How many bytes of variables go into a session at a time. */
const bytesAtOnce = 32 * 2 ** 20

/**
 * Traces the steps and compiles them into one program, which is freed with the scope. The variables keep their values;
 * `load` brings them into the session. Fails where a step reads a value (`dataSync`) or is no valid graph.
 */
export const compile = <Steps extends string>(
  tf: TensorFlow,
  variables: ReadonlyArray<tfjs.Variable>,
  steps: Readonly<Record<Steps, StepSpec>>
) =>
  Effect.gen(function* () {
    const backend = backendOf(tf)
    const graph = new Graph(backend)
    const nodes = declareVariables(graph, tf, variables)
    const compiled = new Map<string, CompiledStep>()
    for (const [name, spec] of Object.entries(steps) as Array<[string, StepSpec]>) {
      const traced = Effect.try({
        try: () => traceStep(tf, graph, variables, nodes, spec),
        catch: (cause) => {
          const op = cause instanceof ValueRead ? { op: cause.op } : {}
          return new NotCompilable({ step: name, ...op, problem: (cause as Error).message })
        }
      })
      compiled.set(name, yield* traced)
    }
    const { open, run, runBeside, close } = graphSessions()
    const session = yield* Effect.acquireRelease(
      Effect.try({
        // On a GPU TensorFlow rewrites graphs to those that it has fast kernels for.
        try: () => open(graph.toGraphDef(), !backend.isUsingGpuDevice),
        catch: (cause) => new NotCompilable({ step: Object.keys(steps).join(", "), problem: (cause as Error).message })
      }),
      (opened) => Effect.sync(() => close(opened))
    )
    const callOf = ({ inputs, feeds, shapes, fetches }: CompiledStep, given: Readonly<Record<string, Values>>) => {
      const values = inputs.map((input) => given[input]!)
      return [session, feeds, shapes, values, fetches, []] as const
    }
    const named = ({ outputs }: CompiledStep, values: ReadonlyArray<Values>) =>
      Object.fromEntries(outputs.map((output, index) => [output, values[index]!]))
    const feed = (some: ReadonlyArray<GraphVariable>, values: ReadonlyArray<Values>) =>
      run(
        session,
        some.map(({ feed }) => feed),
        some.map(({ shape }) => shape),
        values,
        [],
        some.map(({ assigned }) => assigned)
      )
    const program: Program<Steps> = {
      nodes: graph.size,
      run: (name, inputs) => {
        const step = compiled.get(name)!
        return named(step, run(...callOf(step, inputs)))
      },
      runBeside: async (name, inputs) => {
        const step = compiled.get(name)!
        return named(step, await runBeside(...callOf(step, inputs)))
      },
      load: (given) => {
        let values: Array<Values> = []
        let bytes = 0
        for (const [index, variable] of given.entries()) {
          const own = variable.dataSync() as Values
          values.push(own)
          bytes += own.byteLength
          if (bytes < bytesAtOnce && index < given.length - 1) continue
          feed(nodes.slice(index + 1 - values.length, index + 1), values)
          values = []
          bytes = 0
        }
      },
      store: (given) => {
        const reads = nodes.slice(0, given.length).map(({ read }) => read)
        for (const [index, values] of run(session, [], [], [], reads, []).entries())
          assign(given[index]!, tf.tensor(values, [...nodes[index]!.shape]))
      }
    }
    return program
  })
