/** All artifacts by name. */
import type { Artifact } from "./artifact.ts"
import { batches } from "./batches.ts"
import { checkpoint } from "./checkpoint.ts"
import { embeddings } from "./embeddings.ts"
import { images } from "./images.ts"
import { metrics, ranking } from "./metrics.ts"
import { centroids, pseudoLabels } from "./pseudo-labels.ts"
import { teacherUpdates } from "./teacher-updates.ts"
import { trainMetrics } from "./train-metrics.ts"

export const artifacts: ReadonlyArray<Artifact> = [
  images,
  batches,
  embeddings,
  pseudoLabels,
  centroids,
  trainMetrics,
  teacherUpdates,
  checkpoint,
  metrics,
  ranking
]
