/** Which images of a data set do not decode. That and to which pixels they decode otherwise is in stages/decode.test.ts. */
import { Effect } from "effect"
import { expect, it } from "vitest"
import { openDataset } from "#data/dataset.ts"
import { undecodableImages } from "#data/image-files.ts"
import { Session } from "#engine/session.ts"
import { datasetFolder, jpeg } from "./dataset-files.ts"

const { at, link, write } = datasetFolder()

it("undecodableImages lists every image that does not decode, in order, and tells how far it is", async () => {
  const whole = await jpeg()
  for (let i = 0; i < 70; i++) await write(`a/${String(i).padStart(3, "0")}.jpg`, whole)
  await write("a/003.jpg", whole.subarray(0, -40))
  await write("a/068.jpg", "<html>not found</html>")
  await write("b/empty.png", "")
  await link("b/loop.jpg", "../a")
  await write("b/no-folder.jpg/readme.txt", "")
  const dataset = await Effect.runPromise(openDataset("folder", at()))
  const done: Array<number> = []
  const problems = await Effect.runPromise(
    undecodableImages(dataset, (count) => done.push(count)).pipe(Effect.provide(Session.layer))
  )
  expect(problems.map(({ file }) => file)).toEqual(["a/003.jpg", "a/068.jpg", "b/empty.png"].map((path) => at(path)))
  for (const { problem } of problems) expect(problem).toMatch(/^\S.*$/)
  expect(done).toEqual([32, 64, 71])
})
