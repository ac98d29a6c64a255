/**
 * Ingest meters: the cells of one ingest route, found once, so that a request only adds.
 */
import type { Refusal } from '../engine/lane.ts';
import type { CounterCell, HistogramCell } from '../kernel/metrics.ts';
import { type PixelMeters, type RejectedReason, refusedReasons, rejectedReasons } from '../pixel/metrics.ts';

/** 429: nothing was stored, come again. 503: this server will take none before an operator has looked at its disk. */
const statusOfRefusal: Readonly<Record<Refusal, 429 | 503>> = {
  ring_full: 429,
  journal_full: 429,
  journal_stalled: 429,
  sink_lag: 429,
  write_failed: 429,
  journal_failed: 503,
};

export class IngestMeters {
  readonly rejected: Readonly<Record<RejectedReason, CounterCell>>;
  readonly ignored: CounterCell;
  readonly #refused: ReadonlyMap<Refusal, CounterCell>;
  readonly #ok: CounterCell;
  readonly #clientError: CounterCell;
  readonly #tooMany: CounterCell;
  readonly #serverError: CounterCell;
  readonly #latency: HistogramCell;
  readonly #accepted: CounterCell;
  readonly #gone: CounterCell;
  readonly #unknown: CounterCell;

  constructor(meters: PixelMeters, route: 'px' | 'collect') {
    const rejected = rejectedReasons.map((reason) => [reason, meters.ringmain_rejected_total.at({ reason })]);
    this.rejected = Object.fromEntries(rejected) as Record<RejectedReason, CounterCell>;
    this.#refused = new Map(
      refusedReasons.map((reason) => [reason, meters.ringmain_refused_events_total.at({ reason })]),
    );
    this.ignored = meters.ringmain_ignored_events_total.at({ reason: 'dnt' });
    this.#ok = meters.requests_total.at({ route, status: '2xx' });
    this.#clientError = meters.requests_total.at({ route, status: '4xx' });
    this.#tooMany = meters.requests_total.at({ route, status: '429' });
    this.#serverError = meters.requests_total.at({ route, status: '5xx' });
    this.#latency = meters.ingest_latency_seconds.at({ route });
    this.#accepted = meters.ringmain_accepted_events_total.at({ route });
    this.#gone = meters.ringmain_unanswered_events_total.at({ reason: 'gone' });
    this.#unknown = meters.ringmain_unanswered_events_total.at({ reason: 'unknown' });
  }

  /** An answer of this status leaves. */
  answered(status: number): void {
    if (status < 300) this.#ok.add(1);
    else if (status === 429) this.#tooMany.add(1);
    else if (status < 500) this.#clientError.add(1);
    else this.#serverError.add(1);
  }

  /** `events` events are stored and answered. `startedMs` by performance.now(), 0: not measured; it stands for `weight` requests. */
  stored(events: number, startedMs: number, weight = 1): void {
    this.#accepted.add(events);
    if (startedMs > 0) this.#latency.observe((performance.now() - startedMs) / 1000, weight);
  }

  /** Counts a refusal; returns the status it is answered with. */
  refuse(reason: Refusal): 429 | 503 {
    this.#refused.get(reason)!.add(1);
    return statusOfRefusal[reason];
  }

  /** Recorded, or on its way; the client was told that nobody knows. */
  unknown(events: number): void {
    this.#unknown.add(events);
  }

  /** Recorded, but the client had gone. */
  gone(events: number): void {
    this.#gone.add(events);
  }
}
