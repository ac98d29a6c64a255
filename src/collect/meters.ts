/** Collect meters: the cells of one intake route, looked up once, so that a request only adds. */
import { F, firstOf } from '../events/line-plan.ts';
import type { CounterCell, HistogramCell } from '../kernel/metrics.ts';
import {
  type IntakeMeters,
  mendedKeys,
  type RefusedReason,
  type RejectedReason,
  refusedReasons,
  rejectedReasons,
} from './metrics.ts';

const eventModelFields = Object.fromEntries(mendedKeys.map((key) => [key, F[key]]));

export class RouteMeters {
  readonly rejected: Readonly<Record<RejectedReason, CounterCell>>;
  readonly refused: Readonly<Record<RefusedReason, CounterCell>>;
  readonly ignored: CounterCell;
  /** By field number of the route's encoder; only those that a client may set have a cell. */
  readonly #mended: CounterCell[] = [];
  readonly #latency: HistogramCell;
  readonly #accepted: CounterCell;
  readonly #gone: CounterCell;
  readonly #unknown: CounterCell;

  /** `fields`: what a client may set, with its numbers in the route's encoder. Default: the event model's. */
  constructor(meters: IntakeMeters, route: string, fields: Readonly<Record<string, number>> = eventModelFields) {
    const rejected = rejectedReasons.map((reason) => [reason, meters.ringmain_rejected_total.at({ reason })]);
    this.rejected = Object.fromEntries(rejected) as Record<RejectedReason, CounterCell>;
    const refused = refusedReasons.map((reason) => [reason, meters.ringmain_refused_events_total.at({ reason })]);
    this.refused = Object.fromEntries(refused) as Record<RefusedReason, CounterCell>;
    this.ignored = meters.ringmain_ignored_events_total.at({ reason: 'dnt' });
    for (const [key, field] of Object.entries(fields)) this.#mended[field] = meters.ringmain_mended_total.at({ key });
    this.#latency = meters.ingest_latency_seconds.at({ route });
    this.#accepted = meters.ringmain_accepted_events_total.at({ route });
    this.#gone = meters.ringmain_unanswered_events_total.at({ reason: 'gone' });
    this.#unknown = meters.ringmain_unanswered_events_total.at({ reason: 'unknown' });
  }

  /**
   * `events` events are stored and answered. `startedMs`: by performance.now(), 0 for not measured; it stands for
   * `weight` requests.
   */
  stored(events: number, startedMs: number, weight = 1): void {
    this.#accepted.add(events);
    if (startedMs > 0) this.#latency.observe((performance.now() - startedMs) / 1000, weight);
  }

  /** Fields of stored events were mended: a set of fields, and by field in how many events, without it in one. */
  mended(fields: number, counts?: Int32Array): void {
    for (let set = fields; set !== 0; set &= set - 1) {
      const field = firstOf(set);
      this.#mended[field]!.add(counts === undefined ? 1 : counts[field]!);
    }
  }

  /** The events may be recorded or not; the client was told so. */
  unknown(events: number): void {
    this.#unknown.add(events);
  }

  /** The events are recorded, but the client had gone. */
  gone(events: number): void {
    this.#gone.add(events);
  }
}
