/** Where a task stands in a run, read from its folder: adaptation, stage, epoch, network, split. */
const stageFolders = ["decode", "pretrain", "embed", "cluster", "train", "evaluate"]

export interface TaskPlace {
  /** decode, pretrain, embed, cluster, train or evaluate. */
  readonly stage: string
  /** `mmt`, the name of a variant, or source-only; null for what all adaptations share. */
  readonly variant: string | null
  readonly epoch: number | null
  readonly network: string | null
  /** Of images and embeddings: source-train, target-train, target-query, target-gallery. */
  readonly split: string | null
}

/** Parts of a task's folder, as `baseline/embed/epoch-003/student-1-query`. */
export const taskPlace = (task: string): TaskPlace => {
  const parts = task.split("/")
  const stage = parts.find((part) => stageFolders.includes(part)) ?? parts[0]!
  const own = parts[0] !== stage ? parts[0]! : parts.includes("source-only") ? "source-only" : "mmt"
  const epoch = parts.map((part) => /^epoch-(\d+)$/.exec(part)?.[1]).find((number) => number !== undefined)
  const last = /^((?:student|teacher)-\d+)(?:-(\w+))?$/.exec(
    parts.find((part) => /^(student|teacher)-/.test(part)) ?? ""
  )
  const split = parts.find((part) => /^(source|target)-(train|query|gallery)$/.test(part))
  return {
    stage,
    variant: stage === "decode" || stage === "pretrain" ? null : own,
    epoch: epoch === undefined ? null : Number(epoch),
    network: last?.[1] ?? null,
    split: split ?? (last?.[2] ? `target-${last[2]}` : null)
  }
}
