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
    'Another replay of these dead letters runs',
    (f: { readonly sink: string; readonly holder: string }) =>
      `a replay of a sink must run alone: sink=${f.sink}, found=${f.holder}`,
    exitCodes.temporary,
  ),
  REPLAY_ENDED: inside(
    true,
    'A replay of dead letters ended early, for its sink is away',
    (f: AtReplay) =>
      `replay must reach its sink: ${atReplay(f)}; the other letters stay pending: start it again when the sink is back`,
    exitCodes.temporary,
  ),
  REPLAY_STOPPED: inside(
    false,
    'A replay of dead letters needs an operator',
    (f: AtReplay) => `replay cannot go on by itself: ${atReplay(f)}; the other letters stay pending`,
    exitCodes.failed,
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
