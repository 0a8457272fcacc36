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
  description: "Repeats of upstream events that the log already has",
  incremental: true
})
export const contentConflicts = Metric.counter("columba_content_conflicts_total", {
  description: "Repeats of a known identity with other content, stored as frame.rejected",
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
  description: "Writes of a batch that had to be retried",
  incremental: true
})
export const logQueueEvents = Metric.gauge("columba_log_queue_events", {
  description: "Drafts that are not committed yet"
})
export const logQueueBytes = Metric.gauge("columba_log_queue_bytes", {
  description: "Bytes of drafts that are not committed yet"
})
export const logOldestWaiting = Metric.gauge("columba_log_oldest_waiting_seconds", {
  description: "Age of the oldest draft that is not committed yet; 0 if there is none"
})
export const logWritesFailing = Metric.gauge("columba_log_writes_failing_seconds", {
  description: "How long writes of the log have been failing; 0 while they succeed"
})
export const logResets = Metric.counter("columba_log_resets_total", {
  description: "Times that an older or another log was found in the database; any value above 0 is an incident",
  incremental: true
})
export const logHead = Metric.gauge("columba_log_head", { description: "The last committed number" })

// Callers

export const authenticationFailures = Metric.counter("columba_authentication_failures_total", {
  description: "Requests with an invalid API key; requests without a key are not counted",
  incremental: true
})

// Sinks; label `sink`

export const confirmLatency = Metric.histogram("columba_confirm_seconds", {
  description: "From the commit to the confirm of the sink; one observation per batch, of its oldest event",
  boundaries: latencyBoundaries
})
export const eventsPublished = Metric.counter("columba_events_published_total", {
  description: "Events that a sink has confirmed",
  incremental: true
})
export const sinkLag = Metric.gauge("columba_sink_lag_events", {
  description: "Committed events that a sink has not confirmed"
})
/** Label `reason` besides `sink`. */
export const sinkFailures = Metric.counter("columba_sink_failures_total", {
  description: "Batches that a sink did not accept, by reason",
  incremental: true
})
export const sinkEventsExpired = Metric.counter("columba_sink_events_expired_total", {
  description: "Events that retention deleted before a sink had read them; any value above 0 is a fault",
  incremental: true
})
export const brokerConnected = Metric.gauge("columba_broker_connected", {
  description: "1 while the broker connection is up"
})
export const brokerBlocked = Metric.gauge("columba_broker_blocked", {
  description: "1 while the broker blocks publishers (memory or disk alarm)"
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
  description: "From the request to the answer of the subscriber, or to the timeout",
  boundaries: latencyBoundaries
})
export const subscriptionLag = Metric.gauge("columba_subscription_lag_events", {
  description: "Lag of the active subscription that is furthest behind, in numbers of the log"
})
export const subscriptionHeldDevices = Metric.gauge("columba_subscription_held_devices", {
  description: "Devices held because the endpoint of a subscription refuses their next event"
})
export const subscriptionEventsAbandoned = Metric.counter("columba_subscription_events_abandoned_total", {
  description: "Events that an endpoint did not accept in three days of attempts",
  incremental: true
})
export const subscriptionEventsExpired = Metric.counter("columba_subscription_events_expired_total", {
  description: "Numbers of the log that retention deleted before a subscription reached them",
  incremental: true
})
export const subscriptionsDisabled = Metric.counter("columba_subscriptions_disabled_total", {
  description: "Subscriptions that Columba has disabled",
  incremental: true
})
export const subscriptionDeliveriesUnlogged = Metric.counter("columba_subscription_deliveries_unlogged_total", {
  description: "Attempts that are not in the delivery log, because a subscription had too many in a second",
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
  description: "Actors restarted after a defect of Columba",
  incremental: true
})
export const actorsFenced = Metric.counter("columba_actors_fenced_total", {
  description: "Actors that stopped because another process had claimed their device",
  incremental: true
})
export const quarantines = Metric.counter("columba_quarantines_total", {
  description: "Devices that spent their budget",
  incremental: true
})
export const incidentsOpen = Metric.gauge("columba_gateway_incidents_open", {
  description: "Gateways that are down"
})
export const socketsPaused = Metric.gauge("columba_sockets_paused", {
  description: "Sockets that are paused because the log is over its bound"
})
export const framesReceived = Metric.counter("columba_frames_received_total", {
  description: "Frames read from gateways",
  incremental: true
})
export const statusSyncs = Metric.counter("columba_status_syncs_total", {
  description: "Status requests to gateways, by outcome",
  incremental: true
})
export const slotStarts = Metric.counter("columba_slot_starts_total", {
  description: "Requests to gateways to start a slot, by outcome",
  incremental: true
})

// The ledger of gaps

/** Label `cause`. */
export const gapsOpen = Metric.gauge("columba_gaps_open", {
  description: "Open gaps of all devices, by cause"
})
/** Label `cause`. */
export const gapsOpened = Metric.counter("columba_gaps_opened_total", {
  description: "Gaps that were found, by cause",
  incremental: true
})
/** Labels `cause` and `status`: `closed` or `unprovable`. */
export const gapsClosed = Metric.counter("columba_gaps_closed_total", {
  description: "Gaps that became closed or unprovable, by cause, status, and whether messages are proven complete",
  incremental: true
})
/** Label `cause`. */
export const gapEventsRecovered = Metric.counter("columba_gap_events_recovered_total", {
  description: "Events that were recovered from histories for gaps, by cause",
  incremental: true
})

// Webhooks of gateways

/** Labels `gateway` (`unknown` for an unknown name) and `outcome`. */
export const webhooks = Metric.counter("columba_webhooks_total", {
  description: "Webhooks that gateways posted, by gateway and outcome",
  incremental: true
})
export const webhookLatency = Metric.histogram("columba_webhook_seconds", {
  description: "From the arrival of a webhook to its answer, which follows the commit if the webhook is accepted",
  boundaries: latencyBoundaries
})
export const webhooksInFlight = Metric.gauge("columba_webhooks_in_flight", {
  description: "Webhooks without an answer"
})

/** Labels `gateway` and `outcome`. */
export const webhookChecks = Metric.counter("columba_webhook_checks_total", {
  description: "Checks and changes of the setting where a gateway posts the events of a device, by outcome",
  incremental: true
})
/** Labels `gateway` and `status`. */
export const deviceWebhooks = Metric.gauge("columba_device_webhooks", {
  description: "Devices by the status of their webhooks at the gateway"
})

// Histories

/** Label `gateway`. */
export const backfillDevices = Metric.gauge("columba_backfill_devices", {
  description: "Devices whose history waits to be read, or is being read"
})
export const backfillPages = Metric.counter("columba_backfill_pages_total", {
  description: "Pages of histories read",
  incremental: true
})
/** Label `outcome`: `new` to the log, or `known`. */
export const backfillRows = Metric.counter("columba_backfill_rows_total", {
  description: "Rows of histories passed to the log, by outcome",
  incremental: true
})
export const backfillFailures = Metric.counter("columba_backfill_failures_total", {
  description: "History reads that failed and are retried",
  incremental: true
})
export const deafProofs = Metric.counter("columba_deaf_proofs_total", {
  description: "Times that a message in a history proved that a connected device was deaf",
  incremental: true
})

// Kept files

/** Label `outcome`: `kept`, or why not. */
export const mediaKept = Metric.counter("columba_media_kept_total", {
  description: "Files of messages to be kept, by outcome",
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
/** Label `outcome`: `seamless` or `missed`. */
export const handOvers = Metric.counter("columba_cluster_hand_overs_total", {
  description: "Devices that this node took over while the previous node kept their session open, by outcome",
  incremental: true
})

// The process

export const eventLoopLag = Metric.gauge("columba_event_loop_lag_seconds", {
  description: "99th percentile of the event loop's delay since the last reading"
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
  description: "Messages to send that ended, by outcome; a message in doubt counts again when it is resolved",
  incremental: true
})
export const redisConnected = Metric.gauge("columba_redis_connected", {
  description: "1 while Redis answers; it shares the rates of accounts with other installations"
})
/** Label `reason`: the rule of pacing. */
export const devicesPaced = Metric.gauge("columba_devices_paced", {
  description: "Devices whose messages wait because of their pacing, by rule"
})
export const occurrencesSkipped = Metric.counter("columba_schedule_occurrences_skipped_total", {
  description: "Occurrences of recurring sends that were skipped because no scheduler was running",
  incremental: true
})
/** Label `outcome`: `found` or `absent`. */
export const sendDoubtsSettled = Metric.counter("columba_send_doubts_settled_total", {
  description: "Messages in doubt that were found as sent, or proven not to be sent",
  incremental: true
})

// The consumer

/** Labels `handler` and `outcome`: `handled`, `repeated`, `failed` or `dead`. */
export const consumerMessages = Metric.counter("columba_consumer_messages_total", {
  description: "Incoming messages passed to a handler, by outcome",
  incremental: true
})
export const consumerInFlight = Metric.gauge("columba_consumer_in_flight", {
  description: "Incoming messages that handlers are processing, or that wait for the database"
})
/** Label `outcome`: `answered`, or why not. */
export const autoReplies = Metric.counter("columba_auto_replies_total", {
  description: "Messages to devices that answer by a language model, by outcome",
  incremental: true
})
