import { defineConfig } from "vitest/config"

/** What takes minutes, apart from `npm test`. */
export default defineConfig({ test: { include: ["test/slow/*.slow.ts"] } })
