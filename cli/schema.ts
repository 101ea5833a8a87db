/** `mmt schema`: all keys of a run file, for editors or for readers. */
import { Console, Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { runFilePage } from "#pipeline/run-file-page.ts"
import { runFileSchema } from "#pipeline/run-file-schema.ts"

export const schema = Command.make(
  "schema",
  {
    markdown: Flag.Boolean("markdown").pipe(
      Flag.withDescription("As a page to read, which is docs/run-file.md"),
      Flag.withDefault(false)
    )
  },
  Effect.fn("mmt schema")(function* ({ markdown }) {
    yield* Console.log(
      markdown
        ? runFilePage().trimEnd()
        : JSON.stringify({ $schema: "https://json-schema.org/draft/2020-12/schema", ...runFileSchema() }, null, 2)
    )
  })
).pipe(
  Command.withShortDescription("Print all keys of a run file"),
  Command.withDescription(
    "Prints every key of a run file with its values, its default and what it does: as a JSON Schema, by which editors complete and check run files, or as a page."
  ),
  Command.withExamples([
    { command: "mmt schema > run-file.schema.json", description: "For an editor" },
    { command: "mmt schema --markdown > docs/run-file.md", description: "The page of all keys" }
  ])
)
