/** Thread of the keeper: steps, sleeps, and syncs a last time when main has ended its phase `run`. */
import { workerData } from 'node:worker_threads';
import { createLog, type LogTarget } from '../kernel/log.ts';
import { attachBoard } from '../kernel/metrics.ts';
import { ThreadBoard } from '../kernel/threads/board.ts';
import { KEEPER_SEAT } from '../kernel/threads/roster.ts';
import { settle } from '../kernel/threads/settle.ts';
import { WakeWords } from '../kernel/threads/wake.ts';
import { Keeper, type KeeperShared } from './keeper.ts';
import { keeperMetrics } from './metrics.ts';

export interface KeeperThreadData {
  readonly shared: KeeperShared;
  readonly metrics: SharedArrayBuffer;
  readonly log: LogTarget;
}

/** Longest deep sleep: an idle journal needs its housekeeping too. */
const DEEP_MS = 250;
/** Idle time after which the keeper sleeps deeply, until somebody wakes it. */
const DEEP_AFTER_MS = 100;

function main(data: KeeperThreadData): void {
  const log = createLog({ ...data.log, name: 'keeper' });
  const meters = attachBoard(keeperMetrics, data.metrics, KEEPER_SEAT);
  const seconds = meters.ringmain_journal_sync_seconds.at();
  const warnings = meters.ringmain_journal_warnings_total.at();
  const keeper = new Keeper(data.shared, undefined, {
    synced: (s) => seconds.observe(s),
    warn: (message, fields) => {
      warnings.add(1);
      log.warn(fields, message);
    },
  });
  const board = new ThreadBoard(data.shared.board.threads);
  const wake = new WakeWords(data.shared.wake);
  let idleSince = 0;
  let settled = false;
  board.setState(KEEPER_SEAT, 'up');
  for (;;) {
    // The count is read before the phase: a wish that comes after this look ends the nap below.
    const count = wake.count(KEEPER_SEAT);
    if (board.phase(KEEPER_SEAT) !== 'run') break;
    // It told the time when this thread began, and is never set.
    const now = performance.timeOrigin + performance.now();
    const ms = keeper.step(now);
    if (keeper.busy) idleSince = 0;
    else if (idleSince === 0) idleSince = now;
    if (idleSince > 0 && now - idleSince > DEEP_AFTER_MS) {
      // Nobody waits for a sync now.
      if (!settled) settle();
      settled = true;
      wake.lieDown(KEEPER_SEAT);
      if (!keeper.busy) wake.nap(KEEPER_SEAT, count, DEEP_MS);
      wake.getUp(KEEPER_SEAT);
    } else if (ms > 0) wake.nap(KEEPER_SEAT, count, Math.min(ms, keeper.busy ? data.shared.syncIntervalMs : 4));
  }
  keeper.finish();
  board.setState(KEEPER_SEAT, 'ended');
}

main(workerData as KeeperThreadData);
