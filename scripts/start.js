/**
 * `npm start`, in plain JavaScript: a Node that cannot read TypeScript reports what is missing instead of a file
 * extension. That happens after `npm ci --ignore-scripts`, which omits the project's own Node.
 */
import process from "node:process"

if (!process.features.typescript) {
  console.error(
    `columba needs a newer Node than ${process.versions.node} to start: run 'npm rebuild node' ` +
      "(or 'npm ci' without --ignore-scripts), which brings one along"
  )
  process.exit(1)
}
await import("./start.ts")
