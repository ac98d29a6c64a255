/** Metrics of the live view. */
import { counter, defineMetrics, gauge } from '../../kernel/metrics.ts';

export const liveMetrics = defineMetrics({
  ringmain_live_streams: gauge({ help: 'Live views that are open.' }),
  ringmain_live_watching: gauge({
    help: '1: events are followed for live views; 0: nobody looks, and nothing is done.',
    threads: 'max',
  }),
  ringmain_live_events_total: counter({ help: 'Events that live views were told of.' }),
});
