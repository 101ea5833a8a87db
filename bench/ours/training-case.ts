/** What the benches of training steps train: networks, their number of classes, and the size of a batch of one view. */
import type { BackboneName } from "#model/config.ts"

export interface TrainingCase {
  readonly backbone: BackboneName
  readonly students: ReadonlyArray<string>
  readonly teachers: boolean
  readonly size: readonly [images: number, height: number, width: number]
}

const small = { backbone: "resnet-small", size: [64, 64, 32] } as const
const two = ["student-1", "student-2"]

export const trainingCases = {
  "mmt-small": { ...small, students: two, teachers: true },
  "pretrain-small": { ...small, students: ["student-1"], teachers: false },
  "mmt-resnet50": { backbone: "resnet-50", students: two, teachers: true, size: [16, 256, 128] }
} as const satisfies Readonly<Record<string, TrainingCase>>

export type TrainingCaseName = keyof typeof trainingCases
