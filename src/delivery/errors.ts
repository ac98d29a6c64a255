/** Errors of delivery: what makes a sink try again and what stops it. */
import { defineErrors, exitCodes, inside } from '../kernel/errors.ts';

interface AtSink {
  readonly sink: string;
  readonly reason: string;
}

interface AtReplay extends AtSink {
  readonly delivered: number;
}

const atReplay = ({ sink, delivered, reason }: AtReplay) => `sink=${sink}, delivered=${delivered}, reason=${reason}`;

export const deliveryErrors = defineErrors('delivery', {
  SINK_WRITE: inside(
    true,
    'A write to a sink failed',
    (f: AtSink) => `sink write failed: sink=${f.sink}, reason=${f.reason}`,
  ),
  REPLAY_BUSY: inside(
    true,
    'Another replay of these dead letters is running',
    (f: { readonly sink: string; readonly holder: string }) =>
      `another replay of this sink is running: sink=${f.sink}, found=${f.holder}`,
    exitCodes.temporary,
  ),
  REPLAY_ENDED: inside(
    true,
    'A replay of dead letters ended early because its sink is down',
    (f: AtReplay) =>
      `replay cannot reach its sink: ${atReplay(f)}; the other letters stay pending: ` +
      'start it again when the sink is back',
    exitCodes.temporary,
  ),
  REPLAY_STOPPED: inside(
    false,
    'A replay of dead letters needs an operator',
    (f: AtReplay) => `replay needs an operator: ${atReplay(f)}; the other letters stay pending`,
    exitCodes.failed,
  ),
  SINK_STOPPED: inside(
    false,
    'A sink needs an operator',
    (f: AtSink) => `sink needs an operator: sink=${f.sink}, reason=${f.reason}`,
  ),
  SINK_FENCED: inside(
    false,
    'Another process moved the cursor of a sink',
    (f: AtSink) => `sink cursor must be moved by one process: sink=${f.sink}, reason=${f.reason}`,
  ),
});
