/** The command line: all commands of `mmt`. */
import { Command } from "effect/cli"
import { ablate } from "#cli/ablate.ts"
import { audit } from "#cli/audit.ts"
import { checkpoint } from "#cli/checkpoint.ts"
import { runCommandLine } from "#cli/command-line.ts"
import { dataset } from "#cli/dataset.ts"
import { diff } from "#cli/diff.ts"
import { engine } from "#cli/engine.ts"
import { exportCommand } from "#cli/export.ts"
import { plan } from "#cli/plan.ts"
import { quickstart } from "#cli/quickstart.ts"
import { report } from "#cli/report.ts"
import { rerun } from "#cli/rerun.ts"
import { run } from "#cli/run.ts"
import { schema } from "#cli/schema.ts"
import { score } from "#cli/score.ts"
import { serve } from "#cli/serve.ts"
import { show } from "#cli/show.ts"
import { sql } from "#cli/sql.ts"
import { stage } from "#cli/stage.ts"
import { status } from "#cli/status.ts"
import { trace } from "#cli/trace.ts"

const root = Command.make("mmt").pipe(
  Command.withDescription(
    "Unsupervised domain adaptation for person re-identification by Mutual Mean-Teaching, as stages that exchange Arrow files"
  ),
  Command.withSubcommands([
    quickstart,
    run,
    ablate,
    plan,
    status,
    score,
    report,
    serve,
    schema,
    audit,
    trace,
    diff,
    rerun,
    sql,
    exportCommand,
    stage,
    show,
    checkpoint,
    dataset,
    engine
  ])
)

runCommandLine(root, (path) => `${path.join(" ")} --help`)
