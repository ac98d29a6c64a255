/** Thread of the keeper: steps, sleeps, and syncs a last time when the acceptors have ended. */
import { parentPort, workerData } from 'node:worker_threads';
import { createLog, type LogLevel } from '../kernel/log.ts';
import { attachBoard } from '../kernel/metrics.ts';
import { WakeWords } from '../kernel/threads/wake.ts';
import { KEEPER } from './acknowledger.ts';
import { Keeper, type KeeperShared } from './keeper.ts';
import { keeperMetrics } from './metrics.ts';

export interface KeeperThreadData {
  readonly parts: KeeperShared;
  readonly metrics: SharedArrayBuffer;
  readonly slot: number;
  readonly log: { readonly level: LogLevel; readonly destination: 1 | 2 };
}

/** Longest deep sleep: an idle journal needs its housekeeping too. */
const DEEP_MS = 250;
/** Idle time after which the keeper sleeps deeply, until somebody wakes it. */
const DEEP_AFTER_MS = 100;
/**
 * The event loop turns at least this often, and after every deep sleep, because the word to stop arrives there. Not
 * after every round: a turn costs as much as a round.
 */
const TURN_MS = 50;

function main(data: KeeperThreadData): void {
  const log = createLog({ ...data.log, name: 'keeper' });
  const meters = attachBoard(keeperMetrics, data.metrics, data.slot);
  const seconds = meters.ringmain_journal_sync_seconds.at();
  const warnings = meters.ringmain_journal_warnings_total.at();
  const keeper = new Keeper(data.parts, undefined, {
    synced: (s) => seconds.observe(s),
    warn: (message, fields) => {
      warnings.add(1);
      log.warn(fields, message);
    },
  });
  const wake = new WakeWords(data.parts.wake);
  let stopping = false;
  let idleSince = 0;
  parentPort?.on('message', () => {
    stopping = true;
  });
  /** Returns whether it slept deeply. */
  const round = (): boolean => {
    const count = wake.count(KEEPER);
    const now = performance.timeOrigin + performance.now();
    const ms = keeper.step(now);
    if (keeper.busy) idleSince = 0;
    else if (idleSince === 0) idleSince = now;
    if (idleSince > 0 && now - idleSince > DEEP_AFTER_MS) {
      wake.lieDown(KEEPER);
      if (!keeper.busy) wake.nap(KEEPER, count, DEEP_MS);
      wake.getUp(KEEPER);
      return true;
    }
    if (ms > 0) wake.nap(KEEPER, count, Math.min(ms, keeper.busy ? data.parts.syncIntervalMs : 4));
    return false;
  };
  const rounds = (): void => {
    if (stopping) {
      keeper.finish();
      parentPort?.close();
      return;
    }
    const end = performance.now() + TURN_MS;
    while (!round() && performance.now() < end);
    setImmediate(rounds);
  };
  parentPort?.postMessage('ready');
  rounds();
}

main(workerData as KeeperThreadData);
