/**
 * Every metric of Columba, defined once: names, units and labels are a contract with dashboards and alerts, listed
 * in `docs/metrics.md`. Durations are in seconds, as Prometheus expects. No label ever holds an id or a phone number:
 * a fleet has thousands, and a scrape must stay small.
 */
import { Metric } from "effect"

/** 0.5 ms to 30 s. The low end resolves a local commit, the high end a database that is going away. */
const latencyBoundaries = [
  0.0005,
  0.001,
  0.002,
  0.003,
  0.005,
  0.01,
  0.02,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  2.5,
  5,
  10,
  30
]

// The log

/** Label `kind`; a gateway's own events share `gateway.*`. */
export const eventsCommitted = Metric.counter("columba_events_committed_total", {
  description: "Events committed to the log, by kind",
  incremental: true
})
export const duplicatesCollapsed = Metric.counter("columba_duplicates_collapsed_total", {
  description: "Upstream events that were in the log already",
  incremental: true
})
export const contentConflicts = Metric.counter("columba_content_conflicts_total", {
  description: "Repeats of a known identity with other content, kept as frame.rejected",
  incremental: true
})
export const appendLatency = Metric.histogram("columba_append_seconds", {
  description: "From a draft's arrival at the log to its commit; one observation per batch, of its oldest draft",
  boundaries: latencyBoundaries
})
export const appendBatch = Metric.histogram("columba_append_batch_events", {
  description: "Events per committed batch",
  boundaries: [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000]
})
export const appendRetries = Metric.counter("columba_append_retries_total", {
  description: "Batches that the database did not take at once",
  incremental: true
})
export const logQueueEvents = Metric.gauge("columba_log_queue_events", {
  description: "Drafts that are not committed yet"
})
export const logQueueBytes = Metric.gauge("columba_log_queue_bytes", {
  description: "Bytes of drafts that are not committed yet"
})
export const logOldestWaiting = Metric.gauge("columba_log_oldest_waiting_seconds", {
  description: "Age of the oldest draft that is not committed, 0 without any"
})
export const logWritesFailing = Metric.gauge("columba_log_writes_failing_seconds", {
  description: "For how long writes of the log have failed, 0 while they succeed"
})
export const logResets = Metric.counter("columba_log_resets_total", {
  description: "Times that an older or another log was found in the database; anything but 0 is an incident",
  incremental: true
})
export const logHead = Metric.gauge("columba_log_head", { description: "The last committed number" })

// Callers

export const authenticationFailures = Metric.counter("columba_authentication_failures_total", {
  description: "Requests with an API key that is none; without any key does not count",
  incremental: true
})

// Sinks; label `sink`

export const confirmLatency = Metric.histogram("columba_confirm_seconds", {
  description: "From commit to the other side's confirm; one observation per batch, of its oldest event",
  boundaries: latencyBoundaries
})
export const eventsPublished = Metric.counter("columba_events_published_total", {
  description: "Events confirmed by a sink's other side",
  incremental: true
})
export const sinkLag = Metric.gauge("columba_sink_lag_events", {
  description: "Committed events that a sink has not confirmed"
})
/** Label `reason` besides `sink`. */
export const sinkFailures = Metric.counter("columba_sink_failures_total", {
  description: "Batches that a sink did not take, by reason",
  incremental: true
})
export const sinkEventsExpired = Metric.counter("columba_sink_events_expired_total", {
  description: "Events that retention had removed before a sink read them; anything but 0 is a fault",
  incremental: true
})
export const brokerConnected = Metric.gauge("columba_broker_connected", {
  description: "1 while the broker connection is up"
})
export const brokerBlocked = Metric.gauge("columba_broker_blocked", {
  description: "1 while the broker refuses publishes (memory or disk alarm)"
})

/** Label `object`: an exchange or a queue. */
export const brokerObjectsMissing = Metric.counter("columba_broker_objects_missing_total", {
  description: "Exchanges and queues of Columba that were missing at the broker and were declared again",
  incremental: true
})
/** Label `queue`. */
export const brokerQueueMessages = Metric.gauge("columba_broker_queue_messages", {
  description: "Messages ready for a consumer in a queue that Columba declares"
})
/** Label `queue`. */
export const brokerQueueConsumers = Metric.gauge("columba_broker_queue_consumers", {
  description: "Consumers of a queue that Columba declares"
})

// Subscriptions

/** Label `state`: that of the subscription, or `failing` for active ones whose circuit is open. */
export const subscriptions = Metric.gauge("columba_subscriptions", { description: "Subscriptions by state" })
/** Label `outcome`. */
export const subscriptionDeliveries = Metric.counter("columba_subscription_deliveries_total", {
  description: "Attempts to deliver an event to a subscription, by outcome",
  incremental: true
})
export const subscriptionLatency = Metric.histogram("columba_subscription_seconds", {
  description: "From a request to a subscriber's answer, or to giving up on it",
  boundaries: latencyBoundaries
})
export const subscriptionLag = Metric.gauge("columba_subscription_lag_events", {
  description: "Numbers of the log that the active subscription which is furthest behind has not passed"
})
export const subscriptionHeldDevices = Metric.gauge("columba_subscription_held_devices", {
  description: "Devices held back at some subscription because it does not take their next event"
})
export const subscriptionEventsAbandoned = Metric.counter("columba_subscription_events_abandoned_total", {
  description: "Events that a subscription did not take in three days of attempts",
  incremental: true
})
export const subscriptionEventsExpired = Metric.counter("columba_subscription_events_expired_total", {
  description: "Numbers of the log that were deleted before a subscription came to them",
  incremental: true
})
export const subscriptionsDisabled = Metric.counter("columba_subscriptions_disabled_total", {
  description: "Subscriptions that Columba has disabled",
  incremental: true
})
export const subscriptionDeliveriesUnlogged = Metric.counter("columba_subscription_deliveries_unlogged_total", {
  description: "Attempts that are missing in the delivery log, because there were too many at a time",
  incremental: true
})

// The fleet

/** Label `state`. */
export const devices = Metric.gauge("columba_devices", { description: "Actors by state" })
/** Label `class`. */
export const reconnects = Metric.counter("columba_reconnects_total", {
  description: "Connections lost or refused, by failure class",
  incremental: true
})
export const actorRestarts = Metric.counter("columba_actor_restarts_total", {
  description: "Actors restarted after a defect in this program",
  incremental: true
})
export const actorsFenced = Metric.counter("columba_actors_fenced_total", {
  description: "Actors that stopped because another process had claimed their device",
  incremental: true
})
export const quarantines = Metric.counter("columba_quarantines_total", {
  description: "Devices that used up their restart budget",
  incremental: true
})
export const incidentsOpen = Metric.gauge("columba_gateway_incidents_open", {
  description: "Gateways that are down"
})
export const socketsPaused = Metric.gauge("columba_sockets_paused", {
  description: "Sockets not being read because the log is over its bound"
})
export const framesReceived = Metric.counter("columba_frames_received_total", {
  description: "Frames read from gateways",
  incremental: true
})
export const statusSyncs = Metric.counter("columba_status_syncs_total", {
  description: "Status questions to gateways, by outcome",
  incremental: true
})
export const slotStarts = Metric.counter("columba_slot_starts_total", {
  description: "Slots that gateways were asked to start, by outcome",
  incremental: true
})

// The ledger of gaps

/** Label `cause`. */
export const gapsOpen = Metric.gauge("columba_gaps_open", {
  description: "Gaps of all devices that are not accounted for yet, by cause"
})
/** Label `cause`. */
export const gapsOpened = Metric.counter("columba_gaps_opened_total", {
  description: "Gaps that were found, by cause",
  incremental: true
})
/** Labels `cause` and `status`: `closed` or `unprovable`. */
export const gapsClosed = Metric.counter("columba_gaps_closed_total", {
  description: "Gaps that were accounted for, by cause, result, and whether all their messages are proven to be there",
  incremental: true
})
/** Label `cause`. */
export const gapEventsRecovered = Metric.counter("columba_gap_events_recovered_total", {
  description: "Events that the gateways' histories brought for gaps, by cause",
  incremental: true
})

// Webhooks of gateways

/** Labels `gateway` (`unknown` for a name that is none of ours) and `outcome`. */
export const webhooks = Metric.counter("columba_webhooks_total", {
  description: "Webhooks that gateways have posted, by gateway and outcome",
  incremental: true
})
export const webhookLatency = Metric.histogram("columba_webhook_seconds", {
  description: "From the arrival of a webhook to the decision on its answer, after the commit where it was taken",
  boundaries: latencyBoundaries
})
export const webhooksInFlight = Metric.gauge("columba_webhooks_in_flight", {
  description: "Webhooks that have no answer yet"
})

/** Labels `gateway` and `outcome`. */
export const webhookChecks = Metric.counter("columba_webhook_checks_total", {
  description: "Times that a gateway was told, or asked, where it posts a device's events",
  incremental: true
})
/** Labels `gateway` and `status`. */
export const deviceWebhooks = Metric.gauge("columba_device_webhooks", {
  description: "Devices by how their webhooks stand at the gateway"
})

// Histories

/** Label `gateway`. */
export const backfillDevices = Metric.gauge("columba_backfill_devices", {
  description: "Devices whose history waits to be read, or is being read"
})
export const backfillPages = Metric.counter("columba_backfill_pages_total", {
  description: "Pages of histories that were read",
  incremental: true
})
/** Label `outcome`: `new` to the log, or `known`. */
export const backfillRows = Metric.counter("columba_backfill_rows_total", {
  description: "Rows of histories that were given to the log",
  incremental: true
})
export const backfillFailures = Metric.counter("columba_backfill_failures_total", {
  description: "Readings of a history that failed and are tried again",
  incremental: true
})
export const deafProofs = Metric.counter("columba_deaf_proofs_total", {
  description: "Times that a message of a history proved that a device which seemed to hear did not",
  incremental: true
})

// Kept files

/** Label `outcome`: `kept`, or why not. */
export const mediaKept = Metric.counter("columba_media_kept_total", {
  description: "Files of messages that were to be kept, by outcome",
  incremental: true
})
export const mediaFiles = Metric.gauge("columba_media_files", {
  description: "Files of messages that are kept"
})
export const mediaBytes = Metric.gauge("columba_media_bytes", {
  description: "Bytes that kept files of messages take"
})

// The cluster

/** Label `state`: `healthy` or `silent`. */
export const clusterNodes = Metric.gauge("columba_cluster_nodes", {
  description: "Nodes of the cluster that this process sees in the database"
})
export const clusterShards = Metric.gauge("columba_cluster_shards", {
  description: "Shards that this node holds"
})
export const clusterLeaseAge = Metric.gauge("columba_cluster_lease_age_seconds", {
  description: "Time since this node last renewed the leases of its shards; 0 while it holds none"
})
/** Labels `direction` (`taken` or `given`) and `reason`. */
export const clusterShardMoves = Metric.counter("columba_cluster_shard_moves_total", {
  description: "Shards that this node has taken or given away, by reason",
  incremental: true
})
/** Label `outcome`: `heard` or `missed`. */
export const handOvers = Metric.counter("columba_cluster_hand_overs_total", {
  description: "Devices that this node got from another one that listened until then, by outcome",
  incremental: true
})

// The process

export const eventLoopLag = Metric.gauge("columba_event_loop_lag_seconds", {
  description: "99th percentile of event-loop delay since the last reading"
})
/** The names that Prometheus' own client libraries use. */
export const residentMemory = Metric.gauge("process_resident_memory_bytes", {
  description: "Resident memory of the process"
})
export const processCpu = Metric.counter("process_cpu_seconds_total", {
  description: "User and system time of the process",
  incremental: true
})

// Sending

/** Label `outcome`: `sent`, `failed`, `unknown`, `cancelled` or `expired`. */
export const sendsEnded = Metric.counter("columba_sends_total", {
  description:
    "Messages that Columba was to send, by what became of them; one in doubt is counted again when it is settled",
  incremental: true
})
export const redisConnected = Metric.gauge("columba_redis_connected", {
  description: "Whether Redis answers, which shares the rates of accounts with other installations"
})
/** Label `reason`: the rule of pacing. */
export const devicesPaced = Metric.gauge("columba_devices_paced", {
  description: "Devices whose messages wait because of their pacing, by rule"
})
export const occurrencesSkipped = Metric.counter("columba_schedule_occurrences_skipped_total", {
  description: "Occurrences of recurring sends that were left out, because nothing ran that could have stored them",
  incremental: true
})
/** Label `outcome`: `found` or `absent`. */
export const sendDoubtsSettled = Metric.counter("columba_send_doubts_settled_total", {
  description: "Messages in doubt that were found to be sent, or proven not to be",
  incremental: true
})

// The consumer

/** Labels `handler` and `outcome`: `handled`, `repeated`, `failed` or `dead`. */
export const consumerMessages = Metric.counter("columba_consumer_messages_total", {
  description: "Incoming messages that were given to a handler, by what became of them",
  incremental: true
})
export const consumerInFlight = Metric.gauge("columba_consumer_in_flight", {
  description: "Incoming messages that handlers are working on"
})
/** Label `outcome`: `answered`, or why not. */
export const autoReplies = Metric.counter("columba_auto_replies_total", {
  description: "Messages to devices that answer by a language model, by what became of them",
  incremental: true
})
