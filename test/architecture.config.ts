/** The architecture test alone, without the servers that the other tests start: it only reads source files. */
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

export default defineConfig({
  root: fileURLToPath(new URL("..", import.meta.url)),
  test: { include: ["test/architecture.test.ts"] }
})
