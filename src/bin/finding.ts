/** What one check of `columba doctor` found. With `--json` each is printed as it is. */
export interface Finding {
  readonly name: string
  readonly state: "ok" | "warning" | "failed"
  readonly detail: string
  /** What to do. Null where nothing is wrong. */
  readonly fix: string | null
}

export const ok = (name: string, detail: string): Finding => ({ name, state: "ok", detail, fix: null })
export const warning = (name: string, detail: string, fix: string): Finding => ({ name, state: "warning", detail, fix })
export const failed = (name: string, detail: string, fix: string): Finding => ({ name, state: "failed", detail, fix })
