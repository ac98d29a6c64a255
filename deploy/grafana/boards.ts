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

export const boards: readonly Board[] = [overview, sinks, analysts];

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
  return `histogram_quantile(${q}, sum by (${by}, le) (rate(${histogram}_bucket{${F}}[${R}])))`;
}
