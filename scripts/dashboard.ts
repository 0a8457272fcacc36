/**
 * The Grafana dashboard, written to `deploy/grafana/columba.json` by `npm run docs`. Its rows begin with an operator's
 * first questions (is the fleet well, is anything lost, is everything delivered) and end with the process itself.
 */

interface Query {
  readonly expr: string
  readonly legend: string
}

interface Panel {
  readonly title: string
  readonly help: string
  readonly kind: "timeseries" | "stat"
  /** A unit of Grafana's: `short`, `ops`, `s`, `bytes`, `percentunit`. */
  readonly unit: string
  readonly queries: ReadonlyArray<Query>
  /** A stat is red from this value on. */
  readonly redFrom?: number
  readonly stacked?: boolean
}

/** `$process` is the selection of scraped processes. */
const chosen = (name: string, labels = ""): string =>
  `${name}{instance=~"$process"${labels === "" ? "" : `,${labels}`}}`
const perSecond = (name: string, by: string): string => `sum by (${by}) (rate(${chosen(name)}[$__rate_interval]))`
const total = (name: string, labels = ""): string => `sum(${chosen(name, labels)})`
const quantile = (share: number, name: string, by = ""): string =>
  `histogram_quantile(${share}, sum by (le${by === "" ? "" : `, ${by}`}) (rate(${
    chosen(`${name}_bucket`)
  }[$__rate_interval])))`

const rows: ReadonlyArray<{ readonly title: string; readonly panels: ReadonlyArray<Panel> }> = [
  {
    title: "Is the fleet well?",
    panels: [
      {
        title: "Online",
        help: "Devices that receive. Below the size of your fleet, see the states next to it.",
        kind: "stat",
        unit: "short",
        queries: [{ expr: total("columba_devices", `state="Online"`), legend: "online" }]
      },
      {
        title: "Quarantined",
        help:
          "Devices that spent their budget of restarts. `columba devices explain <id>` shows the reason and how to release one.",
        kind: "stat",
        unit: "short",
        redFrom: 1,
        queries: [{ expr: total("columba_devices", `state="Quarantined"`), legend: "quarantined" }]
      },
      {
        title: "Gateways down",
        help: "One incident per gateway, whatever its number of devices.",
        kind: "stat",
        unit: "short",
        redFrom: 1,
        queries: [{ expr: total("columba_gateway_incidents_open"), legend: "incidents" }]
      },
      {
        title: "Open gaps",
        help: "Intervals in which a device could not receive and whose messages have not all been read back yet.",
        kind: "stat",
        unit: "short",
        queries: [{ expr: total("columba_gaps_open"), legend: "open" }]
      },
      {
        title: "Devices by state",
        help: "The states of docs/device-lifecycle.md.",
        kind: "timeseries",
        unit: "short",
        stacked: true,
        queries: [{ expr: `sum by (state) (${chosen("columba_devices")})`, legend: "{{state}}" }]
      },
      {
        title: "Lost and refused connections",
        help: "transport is the network, auth a credential, conflict a second client, upstreamDown the gateway.",
        kind: "timeseries",
        unit: "ops",
        queries: [{ expr: perSecond("columba_reconnects_total", "class"), legend: "{{class}}" }]
      }
    ]
  },
  {
    title: "Was anything missed?",
    panels: [
      {
        title: "Gaps found",
        help: "By cause. Those that end as unprovable are in the next panel.",
        kind: "timeseries",
        unit: "ops",
        queries: [{ expr: perSecond("columba_gaps_opened_total", "cause"), legend: "{{cause}}" }]
      },
      {
        title: "Gaps accounted for",
        help: "closed: messages and acks are proven complete. unprovable with messages proven: the acks alone are not.",
        kind: "timeseries",
        unit: "ops",
        queries: [{
          expr: perSecond("columba_gaps_closed_total", "status, messages"),
          legend: "{{status}}, messages {{messages}}"
        }]
      },
      {
        title: "Backfill: devices to go",
        help: "Falls to 0 after an outage.",
        kind: "timeseries",
        unit: "short",
        queries: [{ expr: `sum by (gateway) (${chosen("columba_backfill_devices")})`, legend: "{{gateway}}" }]
      },
      {
        title: "Rows read from histories",
        help: "new were missing in the log, known were not.",
        kind: "timeseries",
        unit: "ops",
        queries: [
          { expr: perSecond("columba_backfill_rows_total", "outcome"), legend: "{{outcome}}" },
          { expr: `sum(rate(${chosen("columba_deaf_proofs_total")}[$__rate_interval]))`, legend: "proofs of deafness" }
        ]
      },
      {
        title: "Webhooks of gateways",
        help: "Anything but accepted outcomes deserves a look: docs/webhooks-in.md.",
        kind: "timeseries",
        unit: "ops",
        queries: [{ expr: perSecond("columba_webhooks_total", "outcome"), legend: "{{outcome}}" }]
      }
    ]
  },
  {
    title: "Does everything get through?",
    panels: [
      {
        title: "Events committed",
        help: "By kind.",
        kind: "timeseries",
        unit: "ops",
        stacked: true,
        queries: [{ expr: perSecond("columba_events_committed_total", "kind"), legend: "{{kind}}" }]
      },
      {
        title: "Events that wait for a reader",
        help: "Committed and not confirmed, per sink; and the subscription that is furthest behind.",
        kind: "timeseries",
        unit: "short",
        queries: [
          { expr: `sum by (sink) (${chosen("columba_sink_lag_events")})`, legend: "{{sink}}" },
          { expr: total("columba_subscription_lag_events"), legend: "subscriptions" }
        ]
      },
      {
        title: "Arrival to commit",
        help: "Of the oldest draft of each batch.",
        kind: "timeseries",
        unit: "s",
        queries: [
          { expr: quantile(0.5, "columba_append_seconds"), legend: "median" },
          { expr: quantile(0.99, "columba_append_seconds"), legend: "99 of 100" }
        ]
      },
      {
        title: "Commit to confirm",
        help: "Of the oldest event of each batch, 99 of 100.",
        kind: "timeseries",
        unit: "s",
        queries: [{ expr: quantile(0.99, "columba_confirm_seconds", "sink"), legend: "{{sink}}" }]
      },
      {
        title: "Writes fail since",
        help: "0 while the database takes what it is given.",
        kind: "stat",
        unit: "s",
        redFrom: 5,
        queries: [{ expr: `max(${chosen("columba_log_writes_failing_seconds")})`, legend: "seconds" }]
      },
      {
        title: "Drafts that wait for the database",
        help: "Bounded; sockets stop being read at the bound.",
        kind: "timeseries",
        unit: "short",
        queries: [
          { expr: total("columba_log_queue_events"), legend: "drafts" },
          { expr: total("columba_sockets_paused"), legend: "sockets not read" }
        ]
      },
      {
        title: "Deliveries to subscriptions",
        help: "By outcome.",
        kind: "timeseries",
        unit: "ops",
        queries: [{ expr: perSecond("columba_subscription_deliveries_total", "outcome"), legend: "{{outcome}}" }]
      },
      {
        title: "Messages in the broker's queues",
        help: "A queue that only grows has no consumer.",
        kind: "timeseries",
        unit: "short",
        queries: [{ expr: `max by (queue) (${chosen("columba_broker_queue_messages")})`, legend: "{{queue}}" }]
      }
    ]
  },
  {
    title: "The cluster",
    panels: [
      {
        title: "Silent nodes",
        help: "Nodes that do not answer the others; their devices move. Empty where there is no cluster.",
        kind: "stat",
        unit: "short",
        redFrom: 1,
        queries: [{ expr: `max(${chosen("columba_cluster_nodes", `state="silent"`)})`, legend: "silent" }]
      },
      {
        title: "Shards per node",
        help: "300 in all. Fewer for longer than a lease are devices that no node runs.",
        kind: "timeseries",
        unit: "short",
        stacked: true,
        queries: [{ expr: chosen("columba_cluster_shards"), legend: "{{instance}}" }]
      },
      {
        title: "Moves of shards",
        help:
          "By reason: columba nodes shows the last ones of each node. Lost leases and a database that is away close sockets.",
        kind: "timeseries",
        unit: "short",
        queries: [{
          expr: `sum by (direction, reason) (increase(${
            chosen("columba_cluster_shard_moves_total")
          }[$__rate_interval]))`,
          legend: "{{direction}}: {{reason}}"
        }]
      },
      {
        title: "Age of the leases",
        help: "A third of the lease is usual. At two thirds a node has closed its sockets.",
        kind: "timeseries",
        unit: "s",
        queries: [{ expr: chosen("columba_cluster_lease_age_seconds"), legend: "{{instance}}" }]
      }
    ]
  },
  {
    title: "The process",
    panels: [
      {
        title: "CPU",
        help: "1 is one core.",
        kind: "timeseries",
        unit: "percentunit",
        queries: [{ expr: perSecond("process_cpu_seconds_total", "instance"), legend: "{{instance}}" }]
      },
      {
        title: "Memory",
        help: "Resident.",
        kind: "timeseries",
        unit: "bytes",
        queries: [{ expr: chosen("process_resident_memory_bytes"), legend: "{{instance}}" }]
      },
      {
        title: "Event loop delay",
        help: "99 of 100 callbacks wait less.",
        kind: "timeseries",
        unit: "s",
        queries: [{ expr: chosen("columba_event_loop_lag_seconds"), legend: "{{instance}}" }]
      }
    ]
  }
]

const width = 24
const size = { stat: { w: 6, h: 5 }, timeseries: { w: 12, h: 8 } } as const
const datasource = { type: "prometheus", uid: "${datasource}" }

const toPanel = (panel: Panel, id: number, x: number, y: number) => ({
  id,
  title: panel.title,
  description: panel.help,
  type: panel.kind,
  datasource,
  gridPos: { ...size[panel.kind], x, y },
  targets: panel.queries.map(({ expr, legend }, index) => ({
    refId: String.fromCharCode("A".charCodeAt(0) + index),
    datasource,
    expr,
    legendFormat: legend
  })),
  fieldConfig: {
    defaults: {
      unit: panel.unit,
      min: 0,
      custom: panel.kind === "stat" ? {} : {
        fillOpacity: panel.stacked === true ? 40 : 10,
        stacking: { mode: panel.stacked === true ? "normal" : "none" }
      },
      thresholds: {
        mode: "absolute",
        steps: [
          { color: "green", value: null },
          ...panel.redFrom === undefined ? [] : [{ color: "red", value: panel.redFrom }]
        ]
      }
    },
    overrides: []
  },
  options: panel.kind === "stat"
    ? { reduceOptions: { calcs: ["lastNotNull"] }, colorMode: "value" }
    : { legend: { displayMode: "list", placement: "bottom" }, tooltip: { mode: "multi" } }
})

const layOut = () => {
  const laid: Array<object> = []
  let y = 0
  for (const row of rows) {
    laid.push({
      id: laid.length + 1,
      type: "row",
      title: row.title,
      collapsed: false,
      panels: [],
      gridPos: { w: width, h: 1, x: 0, y }
    })
    y += 1
    let x = 0
    let height = 0
    for (const panel of row.panels) {
      const { h, w } = size[panel.kind]
      if (x + w > width) {
        y += height
        x = 0
        height = 0
      }
      laid.push(toPanel(panel, laid.length + 1, x, y))
      x += w
      height = Math.max(height, h)
    }
    y += height
  }
  return laid
}

export const file = "deploy/grafana/columba.json"

/** The text of the file. */
export const dashboard = (): string =>
  `${
    JSON.stringify(
      {
        uid: "columba",
        title: "Columba",
        tags: ["columba"],
        schemaVersion: 39,
        editable: true,
        refresh: "10s",
        time: { from: "now-1h", to: "now" },
        templating: {
          list: [
            { name: "datasource", type: "datasource", query: "prometheus", label: "Data source" },
            {
              name: "process",
              type: "query",
              label: "Process",
              datasource,
              query: { query: "label_values(columba_log_head, instance)", refId: "process" },
              includeAll: true,
              multi: true,
              allValue: ".*",
              current: { text: "All", value: "$__all" },
              refresh: 2
            }
          ]
        },
        panels: layOut()
      },
      null,
      2
    )
  }\n`
