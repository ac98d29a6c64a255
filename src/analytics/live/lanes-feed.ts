/**
 * Lanes feed: without Kafka one process has all events, in its lanes. They are read there while somebody looks, and for
 * a site that is looked at for the first time also those of the last five minutes: from the journal, whose segments are
 * kept for longer (JOURNAL_RETAIN_MS). Nobody who takes or stores events knows of it.
 */
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import type { LaneWatcher, Onlooker } from '../../engine/lane-watcher.ts';
import { jsonLength, jsonStart } from '../../events/record.ts';
import { recordAt } from '../../kernel/record.ts';
import { ANALYTICS_KIND } from '../event.ts';
import type { Feed, FeedOptions } from './feed.ts';
import { Past } from './hub.ts';
import { type Seen, seenOf, WINDOW_MS } from './live-event.ts';

const NEXT_MS = 100;
/** Five minutes of the journal are read in less; beyond, the view says of which time it is. */
const PAST_MS_MAX = 10_000;
/** For so long the first answer waits for the past, which is there by then as a rule. */
const WAIT_MS = 800;

interface LanesOptions extends FeedOptions {
  readonly watcher: LaneWatcher;
  /** From when on nothing can have been deleted: the start of this process, where segments are kept for less. */
  readonly keptFromMs: number;
}

const seenAt = (buffer: Buffer, record: number, ms: number): Seen | undefined => {
  if (buffer.readUInt16LE(record + recordAt.kind) !== ANALYTICS_KIND) return undefined;
  const from = jsonStart(record);
  return seenOf(buffer.toString('utf8', from, from + jsonLength(buffer, record)), ms);
};

export function followLanes({ hub, now, told, watcher, keptFromMs }: LanesOptions): Feed {
  let ended = false;
  let reading: Promise<void> = Promise.resolve();
  const add: Onlooker = (buffer, record, ms) => {
    const seen = seenAt(buffer, record, ms);
    if (seen !== undefined && hub.add(seen)) told();
  };
  const timer = setInterval(() => watcher.next(add), NEXT_MS);

  async function read(names: readonly string[], steps: ReturnType<LaneWatcher['past']>, past: Past): Promise<void> {
    const site = hub.find(names);
    const endMs = performance.now() + PAST_MS_MAX;
    for (;;) {
      const { done, value } = steps.next();
      if (done) return site?.recall(past, Math.max(value, keptFromMs));
      if (ended || performance.now() > endMs) return void steps.return(0);
      await turn();
    }
  }

  return {
    begin: now,
    async recall(names) {
      const past = new Past();
      const steps = watcher.past(now() - WINDOW_MS, (buffer, record, ms) => {
        const seen = seenAt(buffer, record, ms);
        if (seen !== undefined && names.includes(seen.siteId)) past.add(seen);
      });
      // One after the other: each holds a megabyte while it reads.
      reading = reading.then(() => read(names, steps, past));
      await Promise.race([reading, sleep(WAIT_MS, undefined, { ref: false })]);
    },
    async end() {
      ended = true;
      clearInterval(timer);
      await reading;
    },
  };
}
