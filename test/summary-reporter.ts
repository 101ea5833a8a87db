import type { Reporter, TestModule } from "vitest/node"

/** Prints `N passed, N failed[, N skipped]` as the run's very last line, for machines that read only that. */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>) {
    const count = { passed: 0, failed: 0, skipped: 0, pending: 0 }
    for (const module of modules) {
      if (module.errors().length > 0) count.failed++
      for (const test of module.children.allTests()) count[test.result().state]++
    }
    const skipped = count.skipped > 0 ? `, ${count.skipped} skipped` : ""
    process.once("exit", () =>
      process.stdout.write(`${count.passed} passed, ${count.failed + count.pending} failed${skipped}\n`)
    )
  }
}
