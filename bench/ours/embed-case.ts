/** What the bench of embedding embeds, and by what. */
import type { BackboneName } from "#model/config.ts"

export const backbone: BackboneName = "resnet-50"
export const network = "teacher-1"
export const size = { height: 256, width: 128 } as const
/** Images that go through the network at once, and that both sides are given. */
export const batchSize = 64
