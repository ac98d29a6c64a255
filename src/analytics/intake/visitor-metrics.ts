/** Metrics of who sends events: what operators must know when visitors are counted twice, or not at all. */
import { counter, defineMetrics, type Meters } from '../../kernel/metrics.ts';

/** Why an event of the collector's routes becomes none of analytics. */
export const unrecordedReasons = ['no_site', 'bad_event', 'too_old', 'forbidden', 'unavailable'] as const;
export type UnrecordedReason = (typeof unrecordedReasons)[number];

export const senderMetrics = defineMetrics({
  ringmain_unshared_visitor_ids_total: counter({
    help: 'Events whose visitor was made by a salt that other processes do not have, because Postgres was away.',
    told: {
      level: 'warn',
      sentence: 'visitors are told apart by a salt of this process alone: those of other processes count again',
    },
  }),
  ringmain_unrecorded_pixels_total: counter({
    help:
      'Pixel requests that were not recorded, by reason: no site_id and no page with a host (no_site), too long a name ' +
      '(bad_event), a time that is too old, a site that the page may not send events of (forbidden): these are ' +
      'answered as usual. 503 while the sites are not known yet (unavailable).',
    labels: { reason: unrecordedReasons },
    told: { level: 'info', sentence: 'answering pixel requests without recording them' },
  }),
});
export type SenderMeters = Meters<typeof senderMetrics>;
