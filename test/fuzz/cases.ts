/** The cases of a fuzzing run: each is made from the seed and its number alone, so that it can be run again on its own. */
import fc from "fast-check"
import { arrowSubjects } from "./arrow-subject.ts"
import { checkpointSubjects } from "./checkpoint-subjects.ts"
import { type Edit, edited, edits } from "./edits.ts"
import { imageSubject } from "./image-subject.ts"
import type { Example, Subject } from "./subject.ts"
import { textSubjects } from "./text-subjects.ts"

export const allSubjects = async (): Promise<ReadonlyArray<Subject>> => {
  const arrow = await arrowSubjects()
  const others = [...checkpointSubjects, ...textSubjects, await imageSubject()]
  // As many cases of Arrow files as of all else.
  return arrow.flatMap((one, i) => [one, others[i % others.length]!])
}

export interface Case {
  readonly subject: Subject
  readonly example: Example
  /** The damage, without which the file is the example; none where the file was drawn. */
  readonly edits: ReadonlyArray<Edit>
  readonly bytes: Buffer
}

const choice = fc.record({ example: fc.noBias(fc.nat(999)), drawn: fc.noBias(fc.nat(3)), edits })

/** The case of this number, without the edits of these places. */
export const caseOf = (
  subjects: ReadonlyArray<Subject>,
  seed: number,
  index: number,
  without: ReadonlyArray<number> = []
): Case => {
  const subject = subjects[index % subjects.length]!
  const options = { seed: (seed * 1_000_003 + index) | 0, numRuns: 1 }
  const [chosen] = fc.sample(choice, options)
  const example = subject.examples[chosen!.example % subject.examples.length]!
  if (subject.drawn && chosen!.drawn === 0)
    return { subject, example, edits: [], bytes: fc.sample(subject.drawn, options)[0]! }
  const kept = chosen!.edits.filter((_, place) => !without.includes(place))
  const bytes = kept.reduce((before, edit) => edited(before, edit, example.structure), example.bytes)
  return { subject, example, edits: chosen!.edits, bytes }
}
