/**
 * Boards: what the dashboards show. Every query is run by a test, PromQL against a Prometheus that scrapes a live collector, SQL against
 * a Postgres with events in it; one that finds nothing fails it.
 */

import { seatStates } from '../../src/kernel/threads/board.ts';

export interface Query {
  readonly text: string;
  /** PromQL: the legend. SQL: 'time_series' when the first column is time. */
  readonly legend?: string;
}

export interface Panel {
  readonly title: string;
  /** What a reader should conclude. */
  readonly doc: string;
  readonly queries: readonly Query[];
  readonly type?: 'timeseries' | 'stat' | 'table' | 'barchart' | 'state-timeline';
  /** Of every query of the panel: it has one axis. */
  readonly unit?: string;
  /** state-timeline: what a value means, and its colour. */
  readonly states?: readonly { readonly value: number; readonly text: string; readonly color: string }[];
  readonly min?: number;
  readonly width?: number;
  readonly height?: number;
  /** Red from here on, or below it. */
  readonly bad?: { readonly at: number; readonly below?: true };
}

export interface Board {
  readonly uid: string;
  readonly title: string;
  readonly source: 'prometheus' | 'postgres';
  readonly panels: readonly Panel[];
}

const F = 'job="ringmain", instance=~"$instance"';
const R = '$__rate_interval';

const stateColors: Readonly<Record<(typeof seatStates)[number], string>> = {
  starting: 'blue',
  up: 'green',
  down: 'orange',
  stopped: 'red',
  ended: 'purple',
};
/** One series per sink: the number of its state. */
const stateQuery = `max by (instance, sink) (${seatStates
  .map((state, i) => `${i + 1} * ringmain_sink_state{${F}, state="${state}"}`)
  .join(' or ')})`;

const overview: Board = {
  uid: 'ringmain-overview',
  title: 'Ringmain: overview',
  source: 'prometheus',
  panels: [
    stat(
      'Accepted/s',
      'Events acknowledged with a 2xx.',
      `sum(rate(ringmain_accepted_events_total{${F}}[${R}]))`,
      'cps',
    ),
    stat(
      'Refused/s',
      'Anything but 0: clients are told to retry.',
      `sum(rate(ringmain_refused_events_total{${F}}[${R}]))`,
      'cps',
      { at: 0.001 },
    ),
    stat(
      'Sinks down',
      'Sinks that accept no events at the moment.',
      `count(ringmain_sink_up{${F}} == 0) or vector(0)`,
      'short',
      {
        at: 1,
      },
    ),
    stat('Oldest undelivered', 'How far behind the slowest sink is.', `max(ringmain_sink_oldest_seconds{${F}})`, 's', {
      at: 300,
    }),
    stat(
      'Journal used',
      'Undelivered and retained segments. Retained ones are deleted when space is needed.',
      `max(ringmain_journal_bytes{${F}} / ringmain_journal_max_bytes{${F}})`,
      'percentunit',
      { at: 0.98 },
    ),
    stat(
      'Ledger',
      'Must be 0: see RingmainLedgerMismatch in the runbook.',
      `sum(abs(ringmain_sink_ledger_mismatch{${F}}))`,
      'short',
      { at: 1 },
    ),
    graph('Events/s by collector', 'Uneven: look at the load balancer.', 'cps', [
      [`sum by (instance) (rate(ringmain_accepted_events_total{${F}}[${R}]))`, '{{instance}}'],
    ]),
    graph('Requests/s by route and status', 'What clients see.', 'reqps', [
      [`sum by (route, status) (rate(requests_total{${F}}[${R}]))`, '{{route}} {{status}}'],
    ]),
    graph(
      'Refused, rejected, ignored per second',
      'Refused: backpressure. Rejected: invalid requests. Ignored: do not track.',
      'cps',
      [
        [`sum by (reason) (rate(ringmain_refused_events_total{${F}}[${R}]))`, 'refused {{reason}}'],
        [`sum by (reason) (rate(ringmain_rejected_total{${F}}[${R}]))`, 'rejected {{reason}}'],
        [`sum by (reason) (rate(ringmain_ignored_events_total{${F}}[${R}]))`, 'ignored {{reason}}'],
      ],
    ),
    graph('Response time', 'From the complete request to its answer, for requests whose events were stored.', 's', [
      [quantile(0.5, 'ingest_latency_seconds', 'route'), 'p50 {{route}}'],
      [quantile(0.99, 'ingest_latency_seconds', 'route'), 'p99 {{route}}'],
    ]),
    graph('CPU', 'Cores, all threads.', 'short', [[`rate(process_cpu_seconds_total{${F}}[${R}])`, '{{instance}}']]),
    graph('Memory', 'Flat, whatever the sinks do.', 'bytes', [[`process_resident_memory_bytes{${F}}`, '{{instance}}']]),
    graph('Connections', 'Open connections.', 'short', [
      [`sum by (instance) (ringmain_http_connections{${F}})`, '{{instance}}'],
    ]),
    graph('Connections shed', 'Closed at once because MAX_CONNECTIONS was reached.', 'cps', [
      [`sum by (instance) (rate(ringmain_http_connections_shed_total{${F}}[${R}]))`, '{{instance}}'],
    ]),
    graph('Event-loop delay', 'Maximum over ten seconds, by thread.', 's', [
      [`max by (instance, thread) (ringmain_event_loop_delay_seconds{${F}})`, '{{instance}} {{thread}}'],
    ]),
    graph('Recorded without a 2xx', 'gone: the client disconnected. unknown: it got 503.', 'cps', [
      [`sum by (reason) (rate(ringmain_unanswered_events_total{${F}}[${R}]))`, '{{reason}}'],
    ]),
  ],
};

const sinks: Board = {
  uid: 'ringmain-sinks',
  title: 'Ringmain: sinks and journal',
  source: 'prometheus',
  panels: [
    graph('Delivered/s', 'By sink; all should follow the accepted rate.', 'cps', [
      [`sum by (sink) (rate(ringmain_sink_delivered_total{${F}}[${R}]))`, '{{sink}}'],
      [`sum(rate(ringmain_accepted_events_total{${F}}[${R}]))`, 'accepted'],
    ]),
    graph('Undelivered events', 'Grows while a sink is down, falls once it is back.', 'short', [
      [`sum by (instance, sink) (queue_depth{${F}})`, '{{instance}} {{sink}}'],
    ]),
    graph('Age of the oldest undelivered event', 'How far behind each sink is.', 's', [
      [`max by (instance, sink) (ringmain_sink_oldest_seconds{${F}})`, '{{instance}} {{sink}}'],
    ]),
    {
      title: 'State',
      doc: 'down: retried automatically. stopped: needs an operator, see RingmainSinkStopped in the runbook.',
      type: 'state-timeline',
      states: seatStates.map((text, i) => ({ value: i + 1, text, color: stateColors[text] })),
      queries: [{ text: stateQuery, legend: '{{instance}} {{sink}}' }],
    },
    graph(
      'Failed writes/s',
      'retry: sent again later. split: halved to find the bad event. stop: needs an operator.',
      'cps',
      [[`sum by (sink, class) (rate(sink_failures_total{${F}}[${R}]))`, '{{sink}} {{class}}']],
    ),
    graph('Batch latency, p99', 'From handover to delivery, retries included.', 's', [
      [quantile(0.99, 'batch_flush_seconds', 'sink'), '{{sink}}'],
    ]),
    graph('Batches/s', 'Many small batches: the sink keeps up. Few large ones: it is catching up.', 'ops', [
      [`sum by (sink) (rate(ringmain_sink_batches_total{${F}}[${R}]))`, '{{sink}}'],
    ]),
    graph('Bytes/s', 'Bytes of the records handed to the sink.', 'Bps', [
      [`sum by (sink) (rate(ringmain_sink_bytes_total{${F}}[${R}]))`, '{{sink}}'],
    ]),
    graph('Dead letters and given up', 'Neither should grow.', 'short', [
      [`sum by (sink) (ringmain_sink_dead_letters_total{${F}})`, 'dead {{sink}}'],
      [`sum by (sink) (ringmain_sink_given_up_total{${F}})`, 'given up {{sink}}'],
    ]),
    graph('Backlog in bytes', 'Undelivered bytes of the journal, against JOURNAL_MAX_BYTES.', 'bytes', [
      [`max by (instance, sink) (ringmain_sink_lag_bytes{${F}})`, '{{instance}} {{sink}}'],
      [`max(ringmain_journal_max_bytes{${F}})`, 'quota'],
    ]),
    graph('Time until the journal is full', 'If the slowest sink delivered nothing from now on.', 's', [
      [`ringmain:journal_seconds_left{${F}}`, '{{instance}}'],
    ]),
    graph('Journal on disk', 'Undelivered, retained and spare segments.', 'bytes', [
      [`ringmain_journal_bytes{${F}}`, '{{instance}}'],
    ]),
    graph('Segments', 'Files of the journal.', 'short', [[`ringmain_journal_segments{${F}}`, '{{instance}}']]),
    graph('Sync latency, p99', 'Duration of one fdatasync.', 's', [
      [quantile(0.99, 'ringmain_journal_sync_seconds', 'instance'), '{{instance}}'],
    ]),
    graph('Syncs and sync errors/s', 'After an error, replace the disk.', 'ops', [
      [`rate(ringmain_journal_syncs_total{${F}}[${R}])`, 'syncs {{instance}}'],
      [`rate(ringmain_journal_sync_errors_total{${F}}[${R}])`, 'errors {{instance}}'],
    ]),
    graph('Write latency, p99', 'Duration of one write to the page cache.', 's', [
      [quantile(0.99, 'ringmain_journal_write_seconds', 'instance'), '{{instance}}'],
    ]),
    graph('Published bytes/s by lane', 'One lane per acceptor.', 'Bps', [
      [`sum by (instance, lane) (rate(ringmain_lane_bytes_total{${F}}[${R}]))`, '{{instance}} {{lane}}'],
    ]),
    graph('Unsynced bytes', 'What a power failure would cost at this moment.', 'bytes', [
      [`sum by (instance) (ringmain_lane_unsynced_bytes{${F}})`, '{{instance}}'],
    ]),
  ],
};

const STORE = `${F}, sink="store"`;

const analytics: Board = {
  uid: 'ringmain-analytics',
  title: 'Ringmain: analytics',
  source: 'prometheus',
  panels: [
    stat(
      'Stored/s',
      'Events stored and counted.',
      `sum(rate(ringmain_analytics_events_stored_total{${F}}[${R}]))`,
      'cps',
    ),
    stat(
      'Behind',
      'Age of the oldest event that the processors work on: how old the statistics are.',
      `max(ringmain_sink_oldest_seconds{${STORE}})`,
      's',
      { at: 300 },
    ),
    stat(
      'Waiting',
      'Events in the journal or the topic that are not stored yet.',
      `sum(queue_depth{${STORE}})`,
      'short',
    ),
    stat(
      'Rejected/s',
      'Records that were no events: see RingmainRecordsRejected in the runbook.',
      `sum(rate(ringmain_analytics_rejected_total{${F}}[${R}]))`,
      'cps',
      { at: 0.001 },
    ),
    stat(
      'Partitions missing',
      'Of this month and the next. Must be 0: see RingmainPartitionsMissing in the runbook.',
      `max(ringmain_analytics_partitions_missing{${F}})`,
      'short',
      { at: 1 },
    ),
    stat('Questions', '0: the database does not answer, /stats is 503.', `min(ringmain_query_up{${F}})`, 'short', {
      at: 1,
      below: true,
    }),
    graph('Accepted and stored/s', 'Stored follows accepted; above it while a backlog is worked off.', 'cps', [
      [`sum(rate(ringmain_accepted_events_total{${F}}[${R}]))`, 'accepted'],
      [`sum(rate(ringmain_analytics_events_stored_total{${F}}[${R}]))`, 'stored'],
      [`sum(rate(ringmain_analytics_duplicates_total{${F}}[${R}]))`, 'duplicates'],
      [`sum(rate(ringmain_analytics_repeats_total{${F}}[${R}]))`, 'repeats'],
    ]),
    graph('Rejected/s by reason', 'They are in <topic>.dead, without Kafka in DEAD_LETTER_DIR.', 'cps', [
      [`sum by (reason) (rate(ringmain_analytics_rejected_total{${F}}[${R}]))`, '{{reason}}'],
    ]),
    graph('Age of the oldest event, by processor', 'How far behind each processor is.', 's', [
      [`max by (instance) (ringmain_sink_oldest_seconds{${STORE}})`, '{{instance}}'],
    ]),
    graph('Events waiting', 'By processor: a topic deals its partitions out among them.', 'short', [
      [`sum by (instance) (queue_depth{${STORE}})`, '{{instance}}'],
    ]),
    graph(
      'Lateness',
      'From the time that an event gives itself to its receipt: imports and phones that were offline.',
      's',
      [
        [quantile(0.5, 'ringmain_analytics_lateness_seconds', 'job'), 'p50'],
        [quantile(0.99, 'ringmain_analytics_lateness_seconds', 'job'), 'p99'],
      ],
    ),
    graph('Transaction time', 'Rows, sums and cursor of one batch, retries included.', 's', [
      [quantileOf(0.5, 'batch_flush_seconds', 'instance', STORE), 'p50 {{instance}}'],
      [quantileOf(0.99, 'batch_flush_seconds', 'instance', STORE), 'p99 {{instance}}'],
    ]),
    graph('Events per transaction', 'Few: the processor keeps up. Near PG_BATCH_SIZE: it is catching up.', 'short', [
      [
        `sum by (instance) (rate(ringmain_analytics_events_stored_total{${F}}[${R}])) / sum by (instance) (rate(ringmain_sink_batches_total{${STORE}}[${R}]))`,
        '{{instance}}',
      ],
    ]),
    graph(
      'Failed transactions/s',
      'retry: tried again. split: halved to find the record that Postgres refuses.',
      'cps',
      [[`sum by (class) (rate(sink_failures_total{${STORE}}[${R}]))`, '{{class}}']],
    ),
    graph('Time of questions, p95', 'By question, from its turn among QUERY_CONNECTIONS on.', 's', [
      [`ringmain:query_seconds:p95{job="ringmain"}`, '{{question}}'],
    ]),
    graph('Questions/s', 'By question.', 'ops', [
      [`sum by (question) (rate(ringmain_query_seconds_count{${F}}[${R}]))`, '{{question}}'],
    ]),
    graph('Rows in default partitions', 'Of months that should have one of their own.', 'short', [
      [`max by (table) (ringmain_analytics_default_partition_rows{${F}})`, '{{table}}'],
    ]),
    graph('Failures of jobs', 'In a row; 0 after a success.', 'short', [
      [`max by (exported_job) (ringmain_job_failures{${F}})`, '{{exported_job}}'],
    ]),
    graph('Visitors of one process', 'Ids made by a salt that others do not have, because Postgres was away.', 'cps', [
      [`sum by (instance) (rate(ringmain_unshared_visitor_ids_total{${F}}[${R}]))`, '{{instance}}'],
    ]),
    graph('Pixels not recorded/s', 'Answered like others: no site, too long, too old, forbidden.', 'cps', [
      [`sum by (reason) (rate(ringmain_unrecorded_pixels_total{${F}}[${R}]))`, '{{reason}}'],
    ]),
  ],
};

const analysts: Board = {
  uid: 'ringmain-events',
  title: 'Events: views, visitors, paths, funnels',
  source: 'postgres',
  panels: [
    sql(
      'Views per day',
      'timeseries',
      12,
      'SELECT day::timestamptz AS time, sum(views) AS views FROM ringmain_daily_views WHERE $__timeFilter(day) GROUP BY day ORDER BY day',
      'time_series',
    ),
    sql(
      'Visitors per day',
      'timeseries',
      12,
      'SELECT day::timestamptz AS time, visitors, users FROM ringmain_daily_uniques WHERE $__timeFilter(day) ORDER BY day',
      'time_series',
    ),
    sql(
      'Top paths',
      'table',
      12,
      'SELECT host, path, sum(views) AS views, sum(visitors) AS "visitors, summed by day" FROM ringmain_top_paths WHERE $__timeFilter(day) GROUP BY host, path ORDER BY views DESC LIMIT 25',
    ),
    sql(
      'Events by type',
      'table',
      12,
      'SELECT event, sum(events) AS events FROM ringmain_daily_events WHERE $__timeFilter(day) GROUP BY event ORDER BY events DESC LIMIT 25',
    ),
    sql(
      'Funnel: pageview, add_to_cart, purchase',
      'barchart',
      12,
      "SELECT step, event, sessions FROM ringmain_funnel(ARRAY['pageview', 'add_to_cart', 'purchase'], $__timeFrom(), $__timeTo(), interval '1 day') ORDER BY step",
    ),
    sql(
      'As of',
      'table',
      12,
      'SELECT max(refreshed_at) AS "refreshed at", max(newest_event) AS "newest event" FROM ringmain_freshness',
    ),
  ],
};

const REFUSED = 'outcome=~"no_key|bad_key|expired_key|inactive_user|scope|network|limited|quota|foreign_origin"';
const FAILED = 'outcome=~"failed|too_slow|no_room"';
const LOGS = `${F}, sink="logs"`;
const requestsOf = (outcomes: string): string => `sum(rate(ringmain_gateway_requests_total{${F}, ${outcomes}}[${R}]))`;

const gateway: Board = {
  uid: 'ringmain-gateway',
  title: 'Ringmain: gateway',
  source: 'prometheus',
  panels: [
    stat(
      'Requests/s',
      'All of them, refused ones included.',
      `sum(rate(ringmain_gateway_requests_total{${F}}[${R}]))`,
      'cps',
    ),
    stat('Refused/s', 'Keys, networks, limits and quotas: 401, 403 and 429.', requestsOf(REFUSED), 'cps'),
    stat(
      'Failed/s',
      'Anything but 0: backends fail or are too slow. See RingmainGatewayFailing in the runbook.',
      requestsOf(FAILED),
      'cps',
      { at: 0.001 },
    ),
    stat(
      'From the cache',
      'Share of pictures that no backend was asked for.',
      `${requestsOf('route="image", outcome=~"hit|stale|revalidated|coalesced"')} / ${requestsOf('route="image", outcome=~"hit|stale|revalidated|coalesced|miss|ok"')}`,
      'percentunit',
    ),
    stat(
      'Usage behind',
      'How old usage and logs in the database are.',
      `max(ringmain_sink_oldest_seconds{${LOGS}})`,
      's',
      { at: 120 },
    ),
    stat(
      'Unrecorded',
      'Served and counted nowhere, in a quarter of an hour. Must be 0: see RingmainGatewayUnrecorded in the runbook.',
      `sum(increase(ringmain_gateway_records_lost_total{${F}}[15m]))`,
      'short',
      { at: 1 },
    ),
    graph('Requests/s by outcome', 'hit, miss, stale: the cache. no_key to quota: refusals.', 'cps', [
      [`sum by (outcome) (rate(ringmain_gateway_requests_total{${F}}[${R}]))`, '{{outcome}}'],
    ]),
    graph('Requests/s by route', 'Refused ones included.', 'cps', [
      [`sum by (route) (rate(ringmain_gateway_requests_total{${F}}[${R}]))`, '{{route}}'],
    ]),
    graph('Time of pictures', 'From the head of the request to the end of the answer; refusals are left out.', 's', [
      [quantileOf(0.5, 'ringmain_gateway_request_seconds', 'job', `${F}, route="image"`), 'p50'],
      [quantileOf(0.99, 'ringmain_gateway_request_seconds', 'job', `${F}, route="image"`), 'p99'],
    ]),
    graph('Time of uploads', 'With what the network of the client takes.', 's', [
      [quantileOf(0.5, 'ringmain_gateway_request_seconds', 'job', `${F}, route="upload"`), 'p50'],
      [quantileOf(0.99, 'ringmain_gateway_request_seconds', 'job', `${F}, route="upload"`), 'p99'],
    ]),
    graph('Answers of backends/s', 'By backend and class of status; gone: the client left first.', 'cps', [
      [`sum by (backend, status) (rate(ringmain_gateway_backend_answers_total{${F}}[${R}]))`, '{{backend}} {{status}}'],
    ]),
    graph('Requests at backends', 'Under way now, by backend, and those that wait for a place.', 'short', [
      [`sum by (backend) (ringmain_gateway_backend_in_flight{${F}})`, '{{backend}}'],
      [`sum(ringmain_gateway_backend_waiting{${F}})`, 'waiting'],
    ]),
    graph('Backends that take requests', 'By gateway. Fewer than there are: down, ejected or drained.', 'short', [
      [`sum by (instance) (ringmain_gateway_backend_available{${F}})`, '{{instance}}'],
    ]),
    graph('Retries, ejections, requests without a place/s', 'Anything but 0: a backend fails or is full.', 'cps', [
      [`sum by (result) (rate(ringmain_gateway_backend_retries_total{${F}}[${R}]))`, 'retry: {{result}}'],
      [`sum(rate(ringmain_gateway_backend_ejections_total{${F}}[${R}]))`, 'ejections'],
      [`sum by (reason) (rate(ringmain_gateway_backend_refusals_total{${F}}[${R}]))`, 'no place: {{reason}}'],
    ]),
    graph('Bytes', 'Bodies alone: what quotas count.', 'Bps', [
      [`sum(rate(ringmain_gateway_sent_bytes_total{${F}}[${R}]))`, 'sent'],
      [`sum(rate(ringmain_gateway_received_bytes_total{${F}}[${R}]))`, 'received'],
    ]),
    graph('Decisions about limits/s', 'process: Redis was away, each process limits by itself.', 'cps', [
      [`sum by (by) (rate(ringmain_gateway_limit_decisions_total{${F}}[${R}]))`, '{{by}}'],
    ]),
    graph(
      'Acceptors without Redis',
      'They limit by themselves; 0 without REDIS_ADDR. See RingmainGatewayRedisAway.',
      'short',
      [[`sum by (instance) (ringmain_gateway_redis_away{${F}})`, '{{instance}}']],
    ),
    graph(
      'Where pictures come from/s',
      'A tier of the cache, another request, the backend; passed: too large to keep.',
      'cps',
      [[`sum by (result) (rate(ringmain_gateway_cache_requests_total{${F}}[${R}]))`, '{{result}}']],
    ),
    graph('Bytes in the cache', 'Of all gateways; each may have CACHE_MEMORY_BYTES and CACHE_DISK_BYTES.', 'bytes', [
      [`sum(ringmain_gateway_cache_memory_bytes{${F}})`, 'memory'],
      [`sum(ringmain_gateway_cache_disk_bytes{${F}})`, 'disk'],
    ]),
    graph('Thrown out of the cache/s', 'To make room. Many of them and few hits: the cache is too small.', 'cps', [
      [`sum by (tier) (rate(ringmain_gateway_cache_evictions_total{${F}}[${R}]))`, '{{tier}}'],
    ]),
    graph(
      'Messages about quotas/s',
      'To QUOTA_WEBHOOK_URL. failed: tried again; given_up: after twenty tries.',
      'cps',
      [[`sum by (outcome) (rate(ringmain_gateway_quota_messages_total{${F}}[${R}]))`, '{{outcome}}']],
    ),
    graph('Records waiting', 'For room in the journal: usage is not lost yet.', 'short', [
      [`sum by (instance) (ringmain_gateway_records_waiting{${F}})`, '{{instance}}'],
    ]),
    graph('Records in the journal', 'Logs and usage on their way to the database.', 'short', [
      [`sum by (instance) (queue_depth{${LOGS}})`, '{{instance}}'],
    ]),
    graph('Transaction time', 'Logs, usage and last use of keys of one batch.', 's', [
      [quantileOf(0.5, 'batch_flush_seconds', 'instance', LOGS), 'p50 {{instance}}'],
      [quantileOf(0.99, 'batch_flush_seconds', 'instance', LOGS), 'p99 {{instance}}'],
    ]),
  ],
};

const SENDS = `sum(rate(sms_accepted_total{${F}}[${R}]))`;

const sms: Board = {
  uid: 'ringmain-sms',
  title: 'Ringmain: SMS gateway',
  source: 'prometheus',
  panels: [
    stat('Accepted/s', 'Messages answered 200: charged, and in the database.', SENDS, 'cps'),
    stat(
      'Sent/s',
      'Messages that an operator has taken.',
      `sum(rate(ringmain_sms_outcomes_total{${F}, outcome="sent"}[${R}]))`,
      'cps',
    ),
    stat(
      'Express p99',
      'From acceptance to the operator. See RingmainSmsExpressLate in the runbook.',
      quantileOf(0.99, 'ringmain_sms_accept_to_operator_seconds', 'job', `${F}, lane="express"`),
      's',
      { at: 1 },
    ),
    stat(
      'Outbox behind',
      'How long it has not been empty: Kafka is away, or the log is full. See RingmainSmsOutboxOld.',
      `max(ringmain_sms_outbox_oldest_seconds{${F}})`,
      's',
      { at: 60 },
    ),
    stat(
      'Balances that differ',
      'Of the nightly audit. Must be 0: see RingmainSmsBalancesDiffer in the runbook.',
      `max(sms_audit_differences{${F}})`,
      'short',
      { at: 1 },
    ),
    stat(
      'Shards without a worker',
      'Of 64. Messages of their customers wait. See RingmainSmsShardsUnowned.',
      `max(ringmain_sms_shards_unowned{${F}})`,
      'short',
      { at: 1 },
    ),
    graph('Accepted/s by lane', 'Answered 200.', 'cps', [
      [`sum by (lane) (rate(sms_accepted_total{${F}}[${R}]))`, '{{lane}}'],
    ]),
    graph('Accepted/s by operator', 'By the operator that the number is routed to first.', 'cps', [
      [`sum by (operator) (rate(sms_accepted_total{${F}}[${R}]))`, '{{operator}}'],
      [`sum(rate(sms_replayed_total{${F}}[${R}]))`, 'repeats, not charged'],
    ]),
    graph('Refused/s', 'balance, backlog, invalid: the customers. database, busy: ours.', 'cps', [
      [`sum by (reason) (rate(sms_refused_total{${F}}[${R}]))`, '{{reason}}'],
    ]),
    graph('Time of the transaction', 'Charges the customers of a group and writes its messages.', 's', [
      [quantileOf(0.5, 'balance_deduction_duration_seconds', 'job', F), 'p50'],
      [quantileOf(0.99, 'balance_deduction_duration_seconds', 'job', F), 'p99'],
    ]),
    graph('Acceptance to operator', 'What customers wait for; normal messages wait for their rate as well.', 's', [
      [quantileOf(0.5, 'ringmain_sms_accept_to_operator_seconds', 'lane', F), 'p50 {{lane}}'],
      [quantileOf(0.99, 'ringmain_sms_accept_to_operator_seconds', 'lane', F), 'p99 {{lane}}'],
    ]),
    graph('Outcomes/s', 'later, held and deferred come again; failed is refunded.', 'cps', [
      [`sum by (outcome) (rate(ringmain_sms_outcomes_total{${F}}[${R}]))`, '{{outcome}}'],
    ]),
    graph('Calls of operators/s', 'taken; rejected: final; later: tried again; unknown: held.', 'cps', [
      [`sum by (operator, outcome) (rate(ringmain_sms_operator_calls_total{${F}}[${R}]))`, '{{operator}} {{outcome}}'],
    ]),
    graph('Time of operators, p99', 'From giving a message to the answer.', 's', [
      [quantileOf(0.99, 'ringmain_sms_operator_call_seconds', 'operator', F), '{{operator}}'],
    ]),
    graph('Operators that take messages', '0: the breaker is open, or it is not connected.', 'short', [
      [`max by (operator) (ringmain_sms_operator_up{${F}})`, '{{operator}}'],
    ]),
    graph('Under way at operators', 'Bounded by their windows and by NUM_WORKERS.', 'short', [
      [`sum by (operator) (ringmain_sms_operator_in_flight{${F}})`, '{{operator}}'],
    ]),
    graph(
      'Messages that wait',
      'In the outbox, in the queue of the database (estimated), in the memory of workers.',
      'short',
      [
        [`max(ringmain_sms_outbox_rows{${F}})`, 'outbox'],
        [`max(ringmain_sms_queue_rows{${F}})`, 'queue'],
        [`sum by (lane) (ringmain_sms_worker_waiting{${F}})`, 'worker: {{lane}}'],
      ],
    ),
    graph(
      'In the memory of processes',
      'Of apis: for a transaction. Of workers: calls, and outcomes for Postgres.',
      'short',
      [
        [`sum(sms_accept_waiting{${F}})`, 'api: to be accepted'],
        [`sum(ringmain_sms_worker_calls{${F}})`, 'worker: calls'],
        [`sum(ringmain_sms_worker_unsettled{${F}})`, 'worker: outcomes'],
        [`sum by (lane) (ringmain_sms_worker_customers{${F}})`, 'worker: customers, {{lane}}'],
      ],
    ),
    graph('Shards by worker', 'Of 64; each worker has its part of the customers.', 'short', [
      [`sum by (instance) (ringmain_sms_worker_shards{${F}})`, '{{instance}}'],
    ]),
    graph('Relayed/s', 'Records that have left the outbox.', 'cps', [
      [`sum by (instance) (rate(ringmain_sms_outbox_records_total{${F}}[${R}]))`, '{{instance}}'],
    ]),
    graph('Breakers', '0: closed. 1: a trial is made. 2: open.', 'short', [
      [`max by (operator) (ringmain_sms_operator_breaker_state{${F}})`, '{{operator}}'],
    ]),
    graph('Attempts/s', 'Messages given to an operator, by lane and by what came of it.', 'cps', [
      [`sum by (lane, result) (rate(ringmain_sms_attempts_total{${F}}[${R}]))`, '{{lane}} {{result}}'],
    ]),
    graph('Held and doubled/s', 'held: a worker died while it sent them. doubled: they had ended already.', 'cps', [
      [`sum(rate(ringmain_sms_held_found_total{${F}}[${R}]))`, 'held'],
      [`sum(rate(ringmain_sms_duplicates_total{${F}}[${R}]))`, 'doubled'],
    ]),
    graph('Receipts/s', 'Over HTTP by result; stray: of a connection, naming no message of ours.', 'cps', [
      [`sum by (operator, result) (rate(ringmain_sms_receipts_total{${F}}[${R}]))`, '{{operator}} {{result}}'],
      [`sum by (operator) (rate(ringmain_sms_receipts_stray_total{${F}}[${R}]))`, '{{operator}} stray'],
    ]),
    graph('Callbacks/s', 'failed: tried again. given_up: the customer was never told.', 'cps', [
      [`sum by (outcome) (rate(ringmain_sms_callbacks_total{${F}}[${R}]))`, '{{outcome}}'],
    ]),
    graph('Callbacks that wait', 'Of all customers; under way: of all workers.', 'short', [
      [`max(ringmain_sms_callbacks_waiting{${F}})`, 'waiting'],
      [`sum(ringmain_sms_callbacks_in_flight{${F}})`, 'under way'],
    ]),
    graph('Oldest callback', 'A receiver that is dead is tried for CALLBACK_RETRY_MS.', 's', [
      [`max(ringmain_sms_callbacks_oldest_seconds{${F}})`, 'oldest'],
    ]),
    graph('Balances that end', 'Customers that send, at their pace. See RingmainSmsBalancesLow.', 'short', [
      [`max by (within) (ringmain_sms_balances_low{${F}})`, 'within a {{within}}'],
    ]),
    graph('Reports', 'up: ClickHouse answers. computes: it makes the sums for all that report.', 'short', [
      [`min by (instance) (ringmain_sms_reports_up{${F}})`, '{{instance}} up'],
      [`max by (instance) (ringmain_sms_rollup_turn{${F}})`, '{{instance}} computes'],
    ]),
    graph('Time of reports, p99', 'rollup: the sums of all minutes that records have come for.', 's', [
      [quantileOf(0.99, 'ringmain_sms_report_seconds', 'report', F), '{{report}}'],
      [quantileOf(0.99, 'ringmain_sms_rollup_seconds', 'job', F), 'rollup'],
    ]),
    graph('Computed minutes/s', 'A minute is computed anew when a record of it comes.', 'cps', [
      [`sum(rate(ringmain_sms_rollup_minutes_total{${F}}[${R}]))`, 'minutes'],
    ]),
    graph('Archived rows/s', 'Of days past their retention.', 'cps', [
      [`sum by (table) (rate(ringmain_sms_archived_rows_total{${F}}[${R}]))`, '{{table}}'],
    ]),
    graph(
      'Express misses/s',
      'No operator was known to have it within EXPRESS_DEADLINE_MS. See RingmainSmsExpressMissed.',
      'cps',
      [[`sum(rate(ringmain_sms_express_missed_total{${F}}[${R}]))`, 'missed']],
    ),
    graph('Partitions', 'missing: must be 0. held: days past retention with a message that has not ended.', 'short', [
      [`max(ringmain_sms_partitions_missing{${F}})`, 'missing'],
      [`max(ringmain_sms_partitions_held{${F}})`, 'held'],
      [`sum by (table) (ringmain_sms_default_partition_rows{${F}})`, 'astray: {{table}}'],
    ]),
  ],
};

export const boards: readonly Board[] = [overview, sinks, analytics, gateway, sms, analysts];

function stat(title: string, doc: string, text: string, unit: string, bad?: Panel['bad']): Panel {
  return { title, doc, unit, queries: [{ text }], type: 'stat', width: 4, height: 4, ...(bad && { bad }) };
}

function graph(title: string, doc: string, unit: string, queries: readonly (readonly [string, string])[]): Panel {
  return { title, doc, unit, min: 0, queries: queries.map(([text, legend]) => ({ text, legend })) };
}

function sql(
  title: string,
  type: 'timeseries' | 'table' | 'barchart',
  width: number,
  text: string,
  legend?: 'time_series',
): Panel {
  return {
    title,
    doc: 'From the materialized views of deploy/sql.',
    type,
    width,
    queries: [legend ? { text, legend } : { text }],
  };
}

function quantile(q: number, histogram: string, by: string): string {
  return quantileOf(q, histogram, by, F);
}

function quantileOf(q: number, histogram: string, by: string, series: string): string {
  return `histogram_quantile(${q}, sum by (${by}, le) (rate(${histogram}_bucket{${series}}[${R}])))`;
}
