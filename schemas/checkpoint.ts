/** `checkpoint`: the tensors of the networks by PyTorch's names and in its layouts, a row a tensor. */
import { Schema } from "effect"
import { artifact } from "./artifact.ts"
import { int32List, largeBinary, utf8 } from "./column.ts"

/** Names of the optimizer's moments: which one, and of what. */
export const optimizerTensor = /^adam\.([mv]):(.*)$/

export const checkpoint = artifact(
  "checkpoint",
  {
    /** student-1, student-2, teacher-1, teacher-2. */
    network: utf8,
    /** As in a PyTorch state_dict; `adam.m:NAME` and `adam.v:NAME` are the optimizer's moments of NAME. */
    name: utf8,
    dtype: utf8,
    shape: int32List,
    /** Little-endian values, row-major. */
    data: largeBinary
  },
  {
    /** The network's configuration as JSON, so that a checkpoint can be used on its own. */
    model: Schema.String,
    /** Optimizer steps taken since the optimizer was fresh. */
    optimizerStep: Schema.optionalKey(Schema.FiniteFromString),
    /** Updates of the mean teachers so far, over the whole adaptation. */
    teacherStep: Schema.optionalKey(Schema.FiniteFromString)
  }
)
