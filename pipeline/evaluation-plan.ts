/** The tasks that score a network on the target. */
import { formatOf } from "#data/dataset.ts"
import type { RunConfig } from "#pipeline/run-file.ts"
import { imagesOf, type Source, type Task } from "#pipeline/task-plan.ts"

/** Embeds queries and gallery by one network and scores it. */
export const evaluationTasks = (
  run: RunConfig,
  phase: string,
  folder: (stage: string) => string,
  network: string,
  checkpoint: Source
): ReadonlyArray<Task> => {
  const embed = (split: string): Task => ({
    id: `${folder("embed")}/${network}-${split}`,
    phase,
    steps: [
      {
        stage: "embed",
        params: { networks: [network] },
        inputs: { images: [imagesOf(`target-${split}`)], checkpoint: [checkpoint] }
      }
    ]
  })
  const { ranks, depth, rerank, encoding, k1, k2, lambda } = run.evaluate
  const embedded = (split: string) => [{ task: embed(split).id, port: "embeddings" }]
  return [
    embed("query"),
    embed("gallery"),
    {
      id: `${folder("evaluate")}/${network}`,
      phase,
      steps: [
        {
          stage: "evaluate",
          params: { ranks, depth, rerank, ...(rerank ? { encoding, k1, k2, lambda } : {}) },
          inputs: { query: embedded("query"), gallery: embedded("gallery") }
        }
      ]
    }
  ]
}

/** Whether the target has the labels that scores need. */
export const hasTargetLabels = ({ data }: RunConfig): boolean => formatOf(data.target.format).labelled

/** Whether an adaptation is evaluated after this epoch. */
export const isEvaluated = (run: RunConfig, epoch: number, epochs: number) =>
  hasTargetLabels(run) && (epoch === epochs || epoch % run.evaluate.every === 0)
