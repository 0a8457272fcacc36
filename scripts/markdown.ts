/** Tables in Markdown, for the generated sections of the documentation. */

export const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("<", "&lt;")

export const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string =>
  [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n")
