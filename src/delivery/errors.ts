/** Errors of delivery: what makes a sink try again and what stops it. */
import { defineErrors, inside } from '../kernel/errors.ts';

interface AtSink {
  readonly sink: string;
  readonly reason: string;
}

export const deliveryErrors = defineErrors('delivery', {
  SINK_WRITE: inside(
    true,
    'A write to a sink failed',
    (f: AtSink) => `sink write failed: sink=${f.sink}, reason=${f.reason}`,
  ),
  SINK_STOPPED: inside(
    false,
    'A sink needs an operator',
    (f: AtSink) => `sink cannot go on by itself: sink=${f.sink}, reason=${f.reason}`,
  ),
  SINK_FENCED: inside(
    false,
    'Another process moved the cursor of a sink',
    (f: AtSink) => `sink cursor must be moved by one process: sink=${f.sink}, reason=${f.reason}`,
  ),
});
