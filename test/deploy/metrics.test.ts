/** The files for Grafana and Prometheus name only metrics, labels and label values that the program has. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { DeviceStateTag } from "../../src/domain/DeviceState.ts"
import { dashboard, file } from "../../scripts/dashboard.ts"
import { root } from "../../scripts/stamp.ts"
import * as Metrics from "../../src/services/Metrics.ts"

const types = new Map(
  Object.values(Metrics).flatMap((metric) => "id" in metric ? [[metric.id, metric.type] as const] : [])
)

/** The labels of each metric, as docs/metrics.md lists them. */
const labels = new Map(
  readFileSync(join(root, "docs/metrics.md"), "utf8").split("\n").flatMap((line) => {
    const [, names = "", , cell = ""] = line.split("|")
    const listed = [...cell.matchAll(/`(\w+)`/g)].map(([, label]) => label ?? "")
    return [...names.matchAll(/`(\w+)`/g)].map(([, name]) => [name ?? "", listed] as const)
  })
)

const words = (text: string) => [...text.matchAll(/\b(?:columba|process)_\w+\b/g)].map(([name]) => name)

const check = (text: string) => {
  for (const name of words(text)) {
    const metric = name.replace(/_bucket$/, "")
    assert.strictEqual(types.has(metric), true, `${name} is no metric of the program`)
    assert.strictEqual(name.endsWith("_bucket"), types.get(metric) === "Histogram", `${name} is no way to ask for it`)
  }
  for (const [, name = "", selector = ""] of text.matchAll(/\b((?:columba|process)_\w+)\{([^}]*)\}/g)) {
    for (const [, label = "", , value = ""] of selector.matchAll(/(\w+)(=~?)\\?"([^"\\]*)/g)) {
      if (label === "instance") continue
      assert.include(labels.get(name.replace(/_bucket$/, "")) ?? [], label, `${name} has no label ${label}`)
      if (label === "state" && name === "columba_devices") assert.include(DeviceStateTag.literals, value)
    }
  }
  for (const [, by = "", name = ""] of text.matchAll(/\w+ by \(([^)]*)\) \(\w*\(?((?:columba|process)_\w+)/g)) {
    for (
      const label of by.split(",").map((word) => word.trim()).filter((word) => word !== "le" && word !== "instance")
    ) {
      assert.include(labels.get(name.replace(/_bucket$/, "")) ?? [], label, `${name} has no label ${label}`)
    }
  }
}

describe("deploy/", () => {
  it("has the dashboard that scripts/dashboard.ts describes (npm run docs writes it)", () => {
    assert.strictEqual(readFileSync(join(root, file), "utf8"), dashboard())
  })

  it("queries metrics that the program has, in the dashboard", () => check(dashboard()))

  it("queries metrics that the program has, in the alerts", () =>
    check(readFileSync(join(root, "deploy/prometheus/alerts.yml"), "utf8")))

  it("would detect a metric, a label and a state that do not exist", () => {
    for (
      const wrong of [
        "columba_devises",
        "columba_append_seconds",
        `columba_devices{stat="Online"}`,
        `columba_devices{state="online"}`,
        "sum by (kindd) (rate(columba_events_committed_total[5m]))"
      ]
    ) assert.throws(() => check(wrong), undefined, undefined, wrong)
  })

  it("documents every metric of the program", () => {
    for (const name of types.keys()) assert.isTrue(labels.has(name), `${name} is missing in docs/metrics.md`)
  })
})
