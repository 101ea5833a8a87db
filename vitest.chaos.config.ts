import { defineConfig } from "vitest/config"

/** The faults around a run: the first half of `npm run test:chaos`. */
export default defineConfig({ test: { include: ["test/chaos/*.chaos.ts"] } })
