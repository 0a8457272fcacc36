/** The result of one check of `columba doctor`. With `--json` each is printed as it is. */
export interface Finding {
  readonly name: string
  readonly state: "ok" | "warning" | "failed"
  readonly detail: string
  /** The advice. Null if nothing is wrong. */
  readonly fix: string | null
}

export const ok = (name: string, detail: string): Finding => ({ name, state: "ok", detail, fix: null })
export const warning = (name: string, detail: string, fix: string): Finding => ({ name, state: "warning", detail, fix })
export const failed = (name: string, detail: string, fix: string): Finding => ({ name, state: "failed", detail, fix })
